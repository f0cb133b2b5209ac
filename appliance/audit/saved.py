"""Filters kept under a name: an officer's own, and those that officers share."""

from __future__ import annotations

import uuid

from django.db import IntegrityError, transaction
from django.db.models import Q

from appliance.audit.models import EventType, SavedFilter
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import BadRequest, Conflict, NotFound

_MOST = 200


def of(owner: uuid.UUID) -> list[SavedFilter]:
    """The filters of an officer and those that others share, by name."""
    return list(SavedFilter.objects.filter(Q(owner=owner) | Q(shared=True)).order_by("name", "made_at")[:_MOST])


def do_save(owner: uuid.UUID, name: str, query: str, *, shared: bool, actor: Actor) -> SavedFilter:
    """Keeps a filter. `query` is as in the page's address, read and found right by the caller.

    Raises BadRequest without a name, Conflict when the officer has one of this name.
    """
    name = _named(name)
    if len(query) > 2_000:
        raise BadRequest("This filter is too long to be kept.")
    if SavedFilter.objects.filter(owner=owner).count() >= _MOST:
        raise Conflict("There are as many saved filters as one person may have.", hint="Delete one first.")
    try:
        with transaction.atomic():
            made = SavedFilter.objects.create(owner=owner, name=name, query=query, shared=shared)
            _record("filter.save", made, actor)
    except IntegrityError:
        raise _taken() from None
    return made


def do_change(pk: uuid.UUID, owner: uuid.UUID, *, name: str, shared: bool, actor: Actor) -> SavedFilter:
    """Gives a filter another name, shares it or no longer. Raises NotFound for one of somebody else."""
    name = _named(name)
    try:
        with transaction.atomic():
            kept = _own(pk, owner)
            kept.name, kept.shared = name, shared
            kept.save(update_fields=["name", "shared"])
            _record("filter.change", kept, actor)
    except IntegrityError:
        raise _taken() from None
    return kept


def do_delete(pk: uuid.UUID, owner: uuid.UUID, *, actor: Actor) -> None:
    """Removes a filter. Raises NotFound for one of somebody else."""
    with transaction.atomic():
        kept = _own(pk, owner)
        _record("filter.delete", kept, actor)
        kept.delete()


def _own(pk: uuid.UUID, owner: uuid.UUID) -> SavedFilter:
    kept = SavedFilter.objects.select_for_update().filter(pk=pk, owner=owner).first()
    if kept is None:
        raise NotFound()
    return kept


def _named(name: str) -> str:
    name = " ".join(name.split())
    if not 0 < len(name) <= 100:
        raise BadRequest("A saved filter needs a name of at most 100 characters.", code="invalid_request")
    return name


def _taken() -> Conflict:
    return Conflict("You have a saved filter of this name.", hint="Choose another name.", code="name_taken")


def _record(action: str, kept: SavedFilter, actor: Actor) -> None:
    entities = (Entity("filter", str(kept.pk)),)
    record(Event(EventType.REVIEW, action, entities=entities, detail={"shared": kept.shared}), actor=actor)
