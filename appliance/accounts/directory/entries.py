"""People and groups as the directory has them, whatever its schema calls their parts. Knows no LDAP library."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from appliance.accounts.directory.options import ACTIVE_DIRECTORY
from appliance.lib.text import clean_name

#: What an entry holds: values by attribute name in lower case.
Values = Mapping[str, Sequence[bytes]]

_AD_DISABLED = 0x2  # ACCOUNTDISABLE of userAccountControl
_LOCKED_FOR_GOOD = b"000001010000Z"  # pwdAccountLockedTime of an account that only an administrator unlocks


@dataclass(frozen=True, slots=True)
class DirectoryPerson:
    """A person's entry. `directory_id` stays when the entry is renamed or moved."""

    directory_id: str
    dn: str
    username: str
    display_name: str = ""
    title: str = ""
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class DirectoryGroup:
    """A group's entry. `members` are distinguished names of people and of groups, in normal form."""

    directory_id: str
    dn: str
    name: str
    members: frozenset[str] = field(repr=False, default=frozenset())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The directory at one moment, as far as the site's bases and filters show it."""

    people: tuple[DirectoryPerson, ...]
    groups: tuple[DirectoryGroup, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a kind of directory calls things. `names` are what people may type to sign in."""

    id: str
    username: str
    names: tuple[str, ...]
    group_name: str
    members: tuple[str, ...]
    state: tuple[str, ...]
    binary_id: bool

    @property
    def person_attributes(self) -> list[str]:
        return [self.id, self.username, "displayName", "cn", "title", *self.state]

    @property
    def group_attributes(self) -> list[str]:
        return [self.id, self.group_name, *self.members]


_OPENLDAP = Schema(
    id="entryUUID",
    username="uid",
    names=("uid",),
    group_name="cn",
    members=("member", "uniqueMember"),
    state=("pwdAccountLockedTime", "nsAccountLock"),
    binary_id=False,
)
_ACTIVE_DIRECTORY = Schema(
    id="objectGUID",
    username="sAMAccountName",
    names=("sAMAccountName", "userPrincipalName"),
    group_name="sAMAccountName",
    members=("member",),
    state=("userAccountControl",),
    binary_id=True,
)


def schema_named(name: str) -> Schema:
    """The schema of APPLIANCE_LDAP_SCHEMA."""
    return _ACTIVE_DIRECTORY if name == ACTIVE_DIRECTORY else _OPENLDAP


def person_of(dn: str, values: Values, schema: Schema) -> DirectoryPerson | None:
    """The person of an entry; None for one without an id or a user name, which nobody can sign in as."""
    directory_id, username = _id(values, schema), _text(values, schema.username).lower()
    if not directory_id or not username:
        return None
    return DirectoryPerson(
        directory_id=directory_id,
        dn=dn,
        username=username,
        display_name=_text(values, "displayName") or _text(values, "cn"),
        title=_text(values, "title"),
        disabled=_is_disabled(values),
    )


def group_of(dn: str, values: Values, members: frozenset[str], schema: Schema) -> DirectoryGroup | None:
    """The group of an entry; None for one without an id or a name."""
    directory_id, name = _id(values, schema), _text(values, schema.group_name)
    return DirectoryGroup(directory_id, dn, name, members) if directory_id and name else None


def member_range(values: Values, attribute: str) -> tuple[list[bytes], int | None]:
    """The values of a multi-valued attribute, and where the next piece begins; None when there is none.

    Active Directory hands out a long attribute in pieces named `member;range=0-1499`; the last one ends in `*`.
    """
    prefix = f"{attribute.lower()};range="
    for name, found in values.items():
        if name.startswith(prefix):
            last = name.removeprefix(prefix).partition("-")[2]
            return list(found), int(last) + 1 if last.isdigit() else None
    return list(values.get(attribute.lower(), ())), None


def _id(values: Values, schema: Schema) -> str:
    raw = next(iter(values.get(schema.id.lower(), ())), b"")
    if schema.binary_id:
        return str(uuid.UUID(bytes_le=bytes(raw))) if len(raw) == 16 else ""
    return raw.decode("ascii", "replace").strip().lower()[:100]


def _text(values: Values, attribute: str) -> str:
    raw = next(iter(values.get(attribute.lower(), ())), b"")
    return clean_name(raw.decode("utf-8", "ignore"), limit=150)


def _is_disabled(values: Values) -> bool:
    control = next(iter(values.get("useraccountcontrol", ())), b"")
    if control.lstrip(b"-").isdigit() and int(control) & _AD_DISABLED:
        return True
    locked = next(iter(values.get("nsaccountlock", ())), b"").lower() == b"true"
    return locked or _LOCKED_FOR_GOOD in values.get("pwdaccountlockedtime", ())
