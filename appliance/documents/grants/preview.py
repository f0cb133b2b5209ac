"""What a change of access would do, before it is saved: made, looked at, and taken back in one transaction.

Nothing is computed a second way: the rule that will decide is asked with the change in place. Documents are named and
counted as far as whoever looks may read them themselves; of collections the names.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Q

from appliance.accounts.models import User
from appliance.documents.models import Collection, Document, Grant

#: More people than this are counted, not looked at one by one.
MAX_PEOPLE = 200
_TITLES = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What one person gains, or loses: collections by name, documents by number and the first titles."""

    person: User
    collections: list[str]
    num_documents: int
    titles: list[str]


@dataclass(frozen=True, slots=True)
class Preview:
    """Who gains and who loses what. `num_left_out` people were not looked at: the change concerns too many."""

    gains: list[Change] = field(default_factory=list)
    loses: list[Change] = field(default_factory=list)
    num_people: int = 0
    num_left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Sees:
    collections: set[uuid.UUID]
    documents: set[uuid.UUID]


def concerned(*, users: Iterable[uuid.UUID] = (), groups: Iterable[uuid.UUID] = ()) -> list[User]:
    """The active people whom a change for these people and groups concerns, by name."""
    people = User.objects.filter(Q(pk__in=list(users)) | Q(groups__in=list(groups)), is_active=True)
    return list(people.distinct().order_by("username"))


def preview(
    change: Callable[[], object], *, people: Sequence[User], collections: Iterable[uuid.UUID] | None = None
) -> Preview:
    """What `change` would mean for `people`, within `collections` (ids; None for all). Nothing of it stays.

    `change` writes rows. What it raises is raised.
    """
    looked_at = people[:MAX_PEOPLE]
    within = None if collections is None else list(collections)
    before = {person.pk: _sees(person, within) for person in looked_at}
    with transaction.atomic():
        change()
        after = {person.pk: _sees(person, within) for person in looked_at}
        transaction.set_rollback(True)
    result = Preview(num_people=len(people), num_left_out=len(people) - len(looked_at))
    for person in looked_at:
        was, will = before[person.pk], after[person.pk]
        for found, more, less in ((result.gains, will, was), (result.loses, was, will)):
            opened, shown = more.collections - less.collections, more.documents - less.documents
            if opened or shown:
                found.append(_named(person, opened, shown))
    return result


def removal(grant: Grant) -> Preview:
    """What it would mean that a rule is gone."""
    document = grant.document
    within = grant.collection_id if document is None else document.collection_id
    return preview(
        lambda: Grant.objects.filter(pk=grant.pk).delete(),
        people=concerned(
            users=[grant.user_id] if grant.user_id else [], groups=[grant.group_id] if grant.group_id else []
        ),
        collections=[within] if within else [],
    )


def _sees(person: User, within: list[uuid.UUID] | None) -> _Sees:
    collections = Collection.objects.visible_to(person)
    documents = Document.objects.visible_to(person)
    if within is not None:
        collections, documents = collections.filter(pk__in=within), documents.filter(collection__in=within)
    return _Sees(set(collections.values_list("pk", flat=True)), set(documents.values_list("pk", flat=True)))


def _named(person: User, collections: set[uuid.UUID], documents: set[uuid.UUID]) -> Change:
    names = Collection.objects.filter(pk__in=collections).order_by("name").values_list("name", flat=True)
    titles = Document.objects.filter(pk__in=documents).order_by("title").values_list("title", flat=True)
    return Change(person, list(names), len(documents), list(titles[:_TITLES]))
