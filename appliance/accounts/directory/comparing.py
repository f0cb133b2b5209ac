"""What a sync would change: the directory beside the accounts, without touching either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from appliance.accounts.directory.entries import DirectoryGroup, DirectoryPerson, Snapshot
from appliance.accounts.directory.nesting import Nesting, flatten


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A directory account as it is now."""

    directory_id: str
    dn: str
    username: str
    display_name: str
    title: str
    active: bool


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """A directory group as it is now. Without a `dn` it is gone from the directory."""

    directory_id: str
    dn: str
    name: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the appliance knows. `local_names` and `local_groups` belong to accounts that are not the directory's."""

    people: Mapping[str, KnownPerson]
    groups: Mapping[str, KnownGroup]
    members: Mapping[str, Mapping[str, bool]]
    parents: Mapping[str, frozenset[str]]
    local_names: frozenset[str]
    local_groups: frozenset[str]


@dataclass(slots=True)
class Difference:
    """What is to be done. Everything by directory id; `conflicts` are entries that were left alone, with why."""

    add_people: list[DirectoryPerson] = field(default_factory=list)
    change_people: list[DirectoryPerson] = field(default_factory=list)
    renamed: dict[str, tuple[str, str]] = field(default_factory=dict)
    enable: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    add_groups: list[DirectoryGroup] = field(default_factory=list)
    change_groups: list[DirectoryGroup] = field(default_factory=list)
    regrouped: dict[str, tuple[str, str]] = field(default_factory=dict)
    lose_groups: list[str] = field(default_factory=list)
    join: dict[str, dict[str, bool]] = field(default_factory=dict)
    leave: dict[str, list[str]] = field(default_factory=dict)
    parents: dict[str, frozenset[str]] = field(default_factory=dict)
    freed_people: dict[str, str] = field(default_factory=dict)
    freed_groups: dict[str, str] = field(default_factory=dict)
    conflicts: list[dict[str, str]] = field(default_factory=list)
    cycles: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """How much of each there is to do."""
        return {
            "people_added": len(self.add_people),
            "people_changed": len(self.change_people),
            "people_renamed": len(self.renamed),
            "people_enabled": len(self.enable),
            "people_disabled": len(self.disable),
            "groups_added": len(self.add_groups),
            "groups_renamed": len(self.regrouped),
            "groups_gone": len(self.lose_groups),
            "memberships_added": sum(map(len, self.join.values())),
            "memberships_removed": sum(map(len, self.leave.values())),
            "conflicts": len(self.conflicts),
            "group_cycles": len(self.cycles),
        }


def compare(found: Snapshot, known: Accounts) -> Difference:
    """The difference that makes the accounts what the directory says."""
    difference = Difference()
    _settle_people(found.people, known, difference)
    groups = _settle_groups(found.groups, known, difference)
    nesting = flatten(groups, {person.dn: person.directory_id for person in found.people})
    _settle_members(nesting, groups, known, difference)
    names = {group.directory_id: group.name for group in groups}
    difference.cycles = sorted(names[own] for own in nesting.cycles)
    return difference


def _settle_people(found: Iterable[DirectoryPerson], known: Accounts, difference: Difference) -> list[DirectoryPerson]:
    """Fills in what is to be done with people; returns those whose names are theirs."""
    found = list(found)
    before_names = {own: person.username for own, person in known.people.items()}
    refused = _refused([(p.directory_id, p.username) for p in found], before_names, known.local_names)
    accepted = [person for person in found if person.directory_id not in refused]
    present = {person.directory_id for person in found}
    for person in found:
        before = known.people.get(person.directory_id)
        if code := refused.get(person.directory_id):
            difference.conflicts.append({"kind": "person", "name": person.username, "dn": person.dn, "code": code})
        elif before is None and not person.disabled:
            difference.add_people.append(person)
        if before is None:
            continue
        if not code:
            if before.username != person.username:
                difference.renamed[person.directory_id] = (before.username, person.username)
            if _of(before) != _of(person):
                difference.change_people.append(person)
        if before.active and person.disabled:
            difference.disable.append(person.directory_id)
        elif not before.active and not person.disabled and not code:
            difference.enable.append(person.directory_id)
    difference.disable += [own for own, person in known.people.items() if own not in present and person.active]
    difference.freed_people = _freed(before_names, present, {person.username for person in accepted})
    return accepted


def _settle_groups(found: Iterable[DirectoryGroup], known: Accounts, difference: Difference) -> list[DirectoryGroup]:
    """Fills in what is to be done with groups; returns those that are known or will be, by the names they will have."""
    found = list(found)
    before_names = {own: group.name for own, group in known.groups.items()}
    refused = _refused([(g.directory_id, g.name) for g in found], before_names, known.local_groups)
    present = {group.directory_id for group in found}
    settled = []
    for group in found:
        before = known.groups.get(group.directory_id)
        if code := refused.get(group.directory_id):
            difference.conflicts.append({"kind": "group", "name": group.name, "dn": group.dn, "code": code})
            if before is None:
                continue
            group = replace(group, name=before.name)  # its members are kept up to date all the same
        settled.append(group)
        if before is None:
            difference.add_groups.append(group)
            continue
        if before.name != group.name:
            difference.regrouped[group.directory_id] = (before.name, group.name)
        if (before.dn, before.name) != (group.dn, group.name):
            difference.change_groups.append(group)
    difference.lose_groups += [own for own, group in known.groups.items() if own not in present and group.dn]
    difference.freed_groups = _freed(before_names, present, {group.name for group in settled})
    return settled


def _of(person: DirectoryPerson | KnownPerson) -> tuple[str, str, str, str]:
    return person.dn, person.username, person.display_name, person.title


def _refused(found: list[tuple[str, str]], before: Mapping[str, str], local: frozenset[str]) -> dict[str, str]:
    """Entries that may not have the name they have in the directory: id -> code.

    Who is refused keeps the name they had here, which may refuse someone else.
    """
    entries = Counter(name for _, name in found)
    refused = {
        own: "two_entries_one_name" if entries[name] > 1 else "name_of_a_local_account"
        for own, name in found
        if entries[name] > 1 or name in local
    }
    while True:
        kept = {before[own] for own in refused if own in before}
        more = {own: "name_in_use" for own, name in found if own not in refused and name in kept}
        if not more:
            return refused
        refused |= more


def _freed(before: Mapping[str, str], present: set[str], taken: set[str]) -> dict[str, str]:
    """Those gone from the directory whose name has passed to someone else: id -> the name they are kept under."""
    return {own: f"{name[:140]}~{own[:8]}" for own, name in before.items() if own not in present and name in taken}


def _settle_members(
    nesting: Nesting, groups: Iterable[DirectoryGroup], known: Accounts, difference: Difference
) -> None:
    newcomers = {person.directory_id for person in difference.add_people}
    for group in groups:
        own = group.directory_id
        wanted = {
            person: direct
            for person, direct in nesting.members[own].items()
            if person in known.people or person in newcomers
        }
        held = known.members.get(own, {})
        joining = {person: direct for person, direct in wanted.items() if held.get(person) is not direct}
        leaving = [person for person in held if person not in wanted]
        if joining:
            difference.join[own] = joining
        if leaving:
            difference.leave[own] = leaving
        if nesting.parents[own] != known.parents.get(own, frozenset()):
            difference.parents[own] = nesting.parents[own]
    for own in difference.lose_groups:
        if known.members.get(own):
            difference.leave[own] = list(known.members[own])
        if known.parents.get(own):
            difference.parents[own] = frozenset()
