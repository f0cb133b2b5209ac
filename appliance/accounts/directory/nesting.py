"""Groups in groups: who is in which, by whatever way, and which groups contain each other. Cycles end by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.accounts.directory.entries import DirectoryGroup


@dataclass(frozen=True, slots=True)
class Nesting:
    """Everything by directory id. `members`: group -> person -> whether directly. `parents`: group -> groups that it is
    a direct member of. `cycles`: groups that contain themselves, by way of others or not."""

    members: Mapping[str, Mapping[str, bool]]
    parents: Mapping[str, frozenset[str]]
    cycles: frozenset[str]


def flatten(groups: Iterable[DirectoryGroup], people_by_dn: Mapping[str, str]) -> Nesting:
    """Who is in which group. `people_by_dn`: person's name in normal form -> directory id. Names of neither are left
    out: people outside the site's base, computers, contacts."""
    known = list(groups)
    by_dn = {group.dn: group for group in known}
    nested = {group.directory_id: [by_dn[dn] for dn in group.members if dn in by_dn] for group in known}
    direct = {
        group.directory_id: frozenset(people_by_dn[dn] for dn in group.members if dn in people_by_dn) for group in known
    }
    members: dict[str, dict[str, bool]] = {}
    parents: dict[str, set[str]] = {group.directory_id: set() for group in known}
    cycles = set()
    for group in known:
        own = group.directory_id
        for inner in nested[own]:
            if inner.directory_id != own:
                parents[inner.directory_id].add(own)
        below = _below(own, nested)
        if own in below:
            cycles.add(own)
        inherited = {person for inner in below for person in direct[inner]}
        members[own] = dict.fromkeys(inherited - direct[own], False) | dict.fromkeys(direct[own], True)
    return Nesting(members, {own: frozenset(found) for own, found in parents.items()}, frozenset(cycles))


def _below(own: str, nested: Mapping[str, list[DirectoryGroup]]) -> set[str]:
    """Every group inside this one, at any depth; itself too if a way leads back to it."""
    seen: set[str] = set()
    waiting = [inner.directory_id for inner in nested[own]]
    while waiting:
        inner = waiting.pop()
        if inner not in seen:
            seen.add(inner)
            waiting += [deeper.directory_id for deeper in nested[inner]]
    return seen
