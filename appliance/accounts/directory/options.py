"""How the site's directory is reached and read, from the environment. Without an address there is no directory."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from appliance.lib import env
from appliance.lib.env import SettingError

OPENLDAP, ACTIVE_DIRECTORY = "openldap", "active_directory"
_USER_FILTERS = {
    OPENLDAP: "(objectClass=inetOrgPerson)",
    ACTIVE_DIRECTORY: "(&(objectCategory=person)(objectClass=user))",
}
_GROUP_FILTERS = {
    OPENLDAP: "(objectClass=groupOfNames)",
    ACTIVE_DIRECTORY: "(objectClass=group)",
}
_FILTER = re.compile(r"\(.+\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Options:
    """One directory. `grace_s`: how long sessions of its people last when it has not been heard of."""

    url: str
    ca_file: str
    bind_dn: str
    bind_password: str = field(repr=False)
    user_base: str
    user_filter: str
    group_base: str
    group_filter: str
    schema: str
    timeout_s: float
    grace_s: float
    sync_interval_s: float
    disable_limit_percent: int

    @property
    def starttls(self) -> bool:
        """Whether the connection begins in the clear and is made private before anything is said."""
        return self.url.startswith("ldap://")


def from_environment() -> Options | None:
    """The site's directory, or None. Raises SettingError, which names the setting."""
    url = env.text("APPLIANCE_LDAP_URL")
    if not url:
        return None
    schema = env.choice("APPLIANCE_LDAP_SCHEMA", OPENLDAP, (OPENLDAP, ACTIVE_DIRECTORY))
    options = Options(
        url=_url(url),
        ca_file=_ca_file(),
        bind_dn=_needed("APPLIANCE_LDAP_BIND_DN"),
        bind_password=env.secret("APPLIANCE_LDAP_BIND_PASSWORD"),
        user_base=_needed("APPLIANCE_LDAP_USER_BASE"),
        user_filter=_filter("APPLIANCE_LDAP_USER_FILTER", _USER_FILTERS[schema]),
        group_base=_needed("APPLIANCE_LDAP_GROUP_BASE"),
        group_filter=_filter("APPLIANCE_LDAP_GROUP_FILTER", _GROUP_FILTERS[schema]),
        schema=schema,
        timeout_s=env.seconds("APPLIANCE_LDAP_TIMEOUT_S", 4),
        grace_s=env.seconds("APPLIANCE_LDAP_GRACE_S", 3600),
        sync_interval_s=env.seconds("APPLIANCE_LDAP_SYNC_INTERVAL_S", 300),
        disable_limit_percent=env.integer("APPLIANCE_LDAP_DISABLE_LIMIT_PERCENT", 10),
    )
    if options.timeout_s >= 5:
        raise SettingError("APPLIANCE_LDAP_TIMEOUT_S: people are told within 5 seconds, so it must be below 5.")
    if options.disable_limit_percent > 100:
        raise SettingError("APPLIANCE_LDAP_DISABLE_LIMIT_PERCENT: at most 100.")
    if options.grace_s < options.sync_interval_s:
        raise SettingError(
            "APPLIANCE_LDAP_GRACE_S: shorter than APPLIANCE_LDAP_SYNC_INTERVAL_S: sessions would end between two syncs."
        )
    if importlib.util.find_spec("ldap") is None or importlib.util.find_spec("django_auth_ldap") is None:
        raise SettingError(
            "APPLIANCE_LDAP_URL: needs python-ldap and django-auth-ldap. Install gcc, python3-dev, libldap-dev and "
            "libsasl2-dev, then run make setup."
        )
    return options


def _url(url: str) -> str:
    parts = urlsplit(url)
    try:
        wrong = parts.scheme not in {"ldaps", "ldap"} or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong or parts.path.strip("/") or parts.query or parts.username:
        raise SettingError(
            f"APPLIANCE_LDAP_URL: {url!r} is neither ldaps://host:port nor ldap://host:port (which uses StartTLS)."
        )
    return url.rstrip("/")


def _ca_file() -> str:
    path = env.text("APPLIANCE_LDAP_CA_FILE")
    if not path:
        return ""
    try:
        content = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SettingError(f"APPLIANCE_LDAP_CA_FILE: {path} cannot be read ({error}).") from None
    if "-----BEGIN CERTIFICATE-----" not in content:
        raise SettingError(f"APPLIANCE_LDAP_CA_FILE: {path} holds no certificate in PEM.")
    return path


def _needed(name: str) -> str:
    value = env.text(name)
    if not value:
        raise SettingError(f"{name}: not set, and APPLIANCE_LDAP_URL is.")
    return value


def _filter(name: str, default: str) -> str:
    value = env.text(name, default)
    if not _FILTER.fullmatch(value) or value.count("(") != value.count(")"):
        raise SettingError(f"{name}: {value!r} is not an LDAP filter in parentheses.")
    return value


def configured(options: Options | None) -> Options:
    """The site's directory, where code only runs with one."""
    if options is None:
        raise SettingError("APPLIANCE_LDAP_URL: not set.")
    return options
