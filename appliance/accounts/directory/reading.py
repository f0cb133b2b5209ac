"""Reading the whole directory: page by page, long groups piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

import ldap
import ldap.dn
from ldap.controls import SimplePagedResultsControl
from ldap.ldapobject import LDAPObject

from appliance.accounts.directory.connection import connected
from appliance.accounts.directory.entries import (
    DirectoryGroup,
    DirectoryPerson,
    Schema,
    Snapshot,
    Values,
    group_of,
    member_range,
    person_of,
    schema_named,
)
from appliance.accounts.directory.options import Options

_PAGE_LENGTH = 500
_PAGE_TIMEOUT_S = 60


def read(options: Options) -> Snapshot:
    """Everyone and every group that the site's filters show. Raises DirectoryUnavailable: never a part of it."""
    schema = schema_named(options.schema)
    with connected(options, timeout_s=_PAGE_TIMEOUT_S) as connection:
        people = [
            person_of(normal(dn), values, schema)
            for dn, values in _pages(connection, options.user_base, options.user_filter, schema.person_attributes)
        ]
        groups = [
            _group(connection, dn, values, schema)
            for dn, values in _pages(connection, options.group_base, options.group_filter, schema.group_attributes)
        ]
    return Snapshot(
        tuple(person for person in people if person is not None),
        tuple(group for group in groups if group is not None),
    )


def entry_of(dn: str, values: Values, schema: Schema) -> DirectoryPerson | None:
    """The person of one entry, with the name in normal form."""
    return person_of(normal(dn), values, schema)


def normal(dn: str) -> str:
    """A distinguished name in the one form that can be compared: its parts in lower case, without needless space."""
    try:
        parts = ldap.dn.str2dn(dn)
    except ldap.DECODING_ERROR:
        return dn.lower()
    return str(
        ldap.dn.dn2str([[(kind, value.strip().lower(), 0x1) for kind, value, _ in sorted(part)] for part in parts])
    ).lower()


def _pages(
    connection: LDAPObject, base: str, wanted: str, attributes: list[str]
) -> Iterator[tuple[str, dict[str, list[bytes]]]]:
    control = SimplePagedResultsControl(True, size=_PAGE_LENGTH, cookie="")
    while True:
        asked = connection.search_ext(base, ldap.SCOPE_SUBTREE, wanted, attributes, serverctrls=[control])
        _, entries, _, answered = connection.result3(asked)
        for dn, values in entries:
            if dn is not None:  # else a referral
                yield dn, {name.lower(): found for name, found in values.items()}
        cookies = [found.cookie for found in answered if found.controlType == SimplePagedResultsControl.controlType]
        if not cookies or not cookies[0]:
            return
        control.cookie = cookies[0]


def _group(connection: LDAPObject, dn: str, values: Values, schema: Schema) -> DirectoryGroup | None:
    members: set[str] = set()
    for attribute in schema.members:
        found, following = member_range(values, attribute)
        members.update(normal(raw.decode("utf-8", "replace")) for raw in found)
        while following is not None:
            (_, more), *_ = connection.search_s(
                dn, ldap.SCOPE_BASE, "(objectClass=*)", [f"{attribute};range={following}-*"]
            )
            found, following = member_range({name.lower(): values for name, values in more.items()}, attribute)
            members.update(normal(raw.decode("utf-8", "replace")) for raw in found)
    return group_of(normal(dn), values, frozenset(members), schema)
