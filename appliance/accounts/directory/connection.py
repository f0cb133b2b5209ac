"""A private connection to the directory: TLS with the site's CA, bounded in time, never in the clear."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ldap
from ldap.ldapobject import LDAPObject

from appliance.accounts.directory.errors import unavailable
from appliance.accounts.directory.options import Options


def connection_options(options: Options, *, timeout_s: float) -> dict[int, Any]:
    """libldap's options for one connection, in the order in which they must be set."""
    chosen: dict[int, Any] = {
        ldap.OPT_PROTOCOL_VERSION: 3,
        ldap.OPT_REFERRALS: 0,  # a referral would lead to a server that nobody configured
        ldap.OPT_NETWORK_TIMEOUT: options.timeout_s,
        ldap.OPT_TIMEOUT: timeout_s,
        ldap.OPT_X_TLS_REQUIRE_CERT: ldap.OPT_X_TLS_DEMAND,
    }
    if options.ca_file:
        chosen[ldap.OPT_X_TLS_CACERTFILE] = options.ca_file
    return chosen | {ldap.OPT_X_TLS_NEWCTX: 0}  # last: it makes what was set before take effect


@contextmanager
def connected(options: Options, *, timeout_s: float) -> Iterator[LDAPObject]:
    """A connection signed in with the appliance's own account. `timeout_s` bounds each question.

    Raises DirectoryUnavailable for whatever goes wrong, in the block too.
    """
    connection = None
    try:
        connection = ldap.initialize(options.url)
        for name, value in connection_options(options, timeout_s=timeout_s).items():
            connection.set_option(name, value)
        if options.starttls:
            connection.start_tls_s()
        connection.simple_bind_s(options.bind_dn, options.bind_password)
        yield connection
    except ldap.LDAPError as error:
        raise unavailable(error, options) from None
    finally:
        if connection is not None:
            connection.unbind_ext()
