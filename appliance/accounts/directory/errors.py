"""What can be wrong with the directory. People are told that it does not answer; the log and doctor say why."""

from __future__ import annotations

import logging

import ldap

from appliance.accounts.directory.diagnosis import certificate_problem
from appliance.accounts.directory.options import Options
from appliance.lib.errors import DirectoryUnavailable

log = logging.getLogger(__name__)


def unavailable(error: BaseException, options: Options) -> DirectoryUnavailable:
    """What a failure of python-ldap means, logged."""
    cause = _cause(error, options)
    log.warning("directory unavailable: %s", cause)
    return DirectoryUnavailable(cause)


def _cause(error: BaseException, options: Options) -> str:
    if isinstance(error, TimeoutError | ldap.TIMEOUT | ldap.TIMELIMIT_EXCEEDED):
        return "The directory did not answer in time (APPLIANCE_LDAP_TIMEOUT_S)."
    if isinstance(error, ldap.INVALID_CREDENTIALS):
        return "The directory refused APPLIANCE_LDAP_BIND_DN with its password."
    if isinstance(error, ldap.NO_SUCH_OBJECT):
        return "The directory has no such place: check APPLIANCE_LDAP_USER_BASE and APPLIANCE_LDAP_GROUP_BASE."
    if isinstance(error, ldap.FILTER_ERROR):
        return "The directory cannot read APPLIANCE_LDAP_USER_FILTER or APPLIANCE_LDAP_GROUP_FILTER."
    said = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    words = f"{said.get('desc', '')} {said.get('info', '')}".strip() or type(error).__name__
    if isinstance(error, ldap.SERVER_DOWN | ldap.CONNECT_ERROR):
        return certificate_problem(options) or f"The directory cannot be reached ({words})."
    return f"The directory answered with an error ({words})."
