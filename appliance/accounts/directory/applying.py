"""Making the accounts what a difference says, each change with its audit event. Runs in the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from django.contrib.auth.hashers import make_password
from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat

from appliance.accounts.directory.comparing import Accounts, Difference, KnownGroup, KnownPerson
from appliance.accounts.ending import end_access
from appliance.accounts.models import Group, Membership, Source, User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record

T = TypeVar("T")

_BATCH = 500  # people named by one event, at most


def known() -> Accounts:
    """The directory's accounts and groups as they are now."""
    people = User.objects.filter(directory_id__isnull=False)
    groups = Group.objects.filter(directory_id__isnull=False)
    members: dict[str, dict[str, bool]] = {}
    held = Membership.objects.filter(group__directory_id__isnull=False, user__directory_id__isnull=False)
    for group, person, direct in held.values_list("group__directory_id", "user__directory_id", "direct"):
        members.setdefault(str(group), {})[str(person)] = direct
    parents: dict[str, set[str]] = {}
    nested = Group.parents.through.objects.filter(from_group__directory_id__isnull=False)
    for inner, outer in nested.values_list("from_group__directory_id", "to_group__directory_id"):
        parents.setdefault(str(inner), set()).add(str(outer))
    return Accounts(
        people={
            str(p.directory_id): KnownPerson(
                str(p.directory_id), p.dn, p.username, p.display_name, p.title, p.is_active
            )
            for p in people
        },
        groups={str(g.directory_id): KnownGroup(str(g.directory_id), g.dn, g.name) for g in groups},
        members=members,
        parents={inner: frozenset(outer) for inner, outer in parents.items()},
        local_names=frozenset(User.objects.filter(directory_id=None).values_list("username", flat=True)),
        local_groups=frozenset(Group.objects.filter(directory_id=None).values_list("name", flat=True)),
    )


def apply(difference: Difference, *, actor: Actor) -> None:
    """Carries all of it out."""
    _people(difference, actor)
    _groups(difference, actor)
    _memberships(difference, actor)
    for conflict in difference.conflicts:
        detail = {"kind": conflict["kind"], "code": conflict["code"]}
        record(Event(EventType.REFUSAL, "directory.conflict", detail=detail), actor=actor)


def _people(difference: Difference, actor: Actor) -> None:
    for own, name in difference.freed_people.items():
        User.objects.filter(directory_id=own).update(username=name)
    # Through a name nobody has, so that two people may exchange theirs.
    aside = Concat(Value("~"), Cast("pk", CharField()))
    User.objects.filter(directory_id__in=difference.renamed).update(username=aside)
    changing = {person.directory_id: person for person in difference.change_people}
    rows = list(User.objects.filter(directory_id__in=changing))
    for row in rows:
        entry = changing[str(row.directory_id)]
        row.username, row.display_name, row.title, row.dn = entry.username, entry.display_name, entry.title, entry.dn
        action = "user.rename" if entry.directory_id in difference.renamed else "user.change"
        record(Event(EventType.ACCOUNT, action, entities=(_user(row.pk),)), actor=actor)
    User.objects.bulk_update(rows, ["username", "display_name", "title", "dn"], batch_size=_BATCH)
    unusable = make_password(None)
    for batch in _batches(difference.add_people):
        added = User.objects.bulk_create(
            [
                User(
                    username=person.username,
                    password=unusable,
                    display_name=person.display_name,
                    title=person.title,
                    source=Source.DIRECTORY,
                    directory_id=person.directory_id,
                    dn=person.dn,
                )
                for person in batch
            ]
        )
        event = Event(EventType.ACCOUNT, "user.create", entities=tuple(_user(user.pk) for user in added))
        record(event, actor=actor)
    ids = _user_ids([*difference.disable, *difference.enable])
    for own in difference.disable:
        ended = end_access([ids[own]])
        event = Event(EventType.ACCOUNT, "user.disable", entities=(_user(ids[own]),), detail=ended)
        record(event, actor=actor)
    for own in difference.enable:
        User.objects.filter(pk=ids[own]).update(is_active=True)
        record(Event(EventType.ACCOUNT, "user.enable", entities=(_user(ids[own]),)), actor=actor)


def _groups(difference: Difference, actor: Actor) -> None:
    for own, name in difference.freed_groups.items():
        Group.objects.filter(directory_id=own).update(name=name)
    aside = Concat(Value("~"), Cast("pk", CharField()))
    Group.objects.filter(directory_id__in=difference.regrouped).update(name=aside)
    for entry in difference.change_groups:
        Group.objects.filter(directory_id=entry.directory_id).update(name=entry.name, dn=entry.dn)
    made = Group.objects.bulk_create(
        [
            Group(name=entry.name, source=Source.DIRECTORY, directory_id=entry.directory_id, dn=entry.dn)
            for entry in difference.add_groups
        ],
        batch_size=_BATCH,
    )
    Group.objects.filter(directory_id__in=difference.lose_groups).update(dn="")
    for action, pks in (
        ("group.create", [group.pk for group in made]),
        ("group.rename", _group_ids(difference.regrouped).values()),
        ("group.gone", _group_ids(difference.lose_groups).values()),
    ):
        for pk in pks:
            record(Event(EventType.ACCOUNT, action, entities=(_group(pk),)), actor=actor)
    ids = _group_ids([*difference.parents, *(outer for found in difference.parents.values() for outer in found)])
    for inner, outer in difference.parents.items():
        Group.objects.get(pk=ids[inner]).parents.set(Group.objects.filter(pk__in=[ids[own] for own in outer]))
        entities = (_group(ids[inner]), *(_group(ids[own]) for own in sorted(outer)))
        record(Event(EventType.ACCOUNT, "group.nest", entities=entities), actor=actor)


def _memberships(difference: Difference, actor: Actor) -> None:
    groups = _group_ids([*difference.join, *difference.leave])
    people = _user_ids({own for found in (*difference.join.values(), *difference.leave.values()) for own in found})
    for group, left in difference.leave.items():
        for batch in _batches(left):
            pks = [people[own] for own in batch]
            Membership.objects.filter(group=groups[group], user__in=pks).delete()
            _record_members("group.leave", groups[group], pks, actor)
    for group, joined in difference.join.items():
        for pairs in _batches(list(joined.items())):
            Membership.objects.bulk_create(
                [Membership(group_id=groups[group], user_id=people[own], direct=direct) for own, direct in pairs],
                update_conflicts=True,
                unique_fields=["user", "group"],
                update_fields=["direct"],
            )
            _record_members("group.join", groups[group], [people[own] for own, _ in pairs], actor)


def _record_members(action: str, group: uuid.UUID, people: Sequence[uuid.UUID], actor: Actor) -> None:
    entities = (_group(group), *(_user(pk) for pk in people))
    record(Event(EventType.ACCOUNT, action, entities=entities), actor=actor)


def _user(pk: uuid.UUID) -> Entity:
    return Entity("user", str(pk))


def _group(pk: uuid.UUID) -> Entity:
    return Entity("group", str(pk))


def _user_ids(directory_ids: Iterable[str]) -> dict[str, uuid.UUID]:
    found = User.objects.filter(directory_id__in=list(directory_ids))
    return {str(own): pk for own, pk in found.values_list("directory_id", "pk")}


def _group_ids(directory_ids: Iterable[str]) -> dict[str, uuid.UUID]:
    found = Group.objects.filter(directory_id__in=list(directory_ids))
    return {str(own): pk for own, pk in found.values_list("directory_id", "pk")}


def _batches(items: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch
