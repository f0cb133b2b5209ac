"""Reading the audit: pages of events, one event with what it was about. Looking is itself recorded."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from appliance.audit.filters import Filter, page_of
from appliance.audit.models import AuditEntity, AuditEvent, EventType, Leaf
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import NotFound

PAGE_LENGTH = 50
#: More relatives of one question than this are not listed beside an event; the filter by question finds them all.
NUM_RELATED = 100


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events, newest first, and the key of the next page; None on the last."""

    events: list[AuditEvent]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """A value that an event says was changed: what it was before, and what after."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class OpenEvent:
    """One event with the evidence it holds and its relatives of the same question. `place` in the tree is from 0,
    None while it is not sealed."""

    event: AuditEvent
    evidence: dict[str, Any]
    entities: list[AuditEntity]
    related: list[AuditEvent]
    fingerprint: str
    place: int | None

    @property
    def changes(self) -> list[Change]:
        """What the event says was changed."""
        return _changes(self.evidence.get("detail") or {})

    @property
    def figures(self) -> list[tuple[str, Any]]:
        """What else it says: counts, codes, hashes."""
        detail = self.evidence.get("detail") or {}
        shown = _SIDES if self.changes else ()
        return sorted((name, value) for name, value in detail.items() if name not in shown)


_SIDES = ("before", "after", "now")


def _changes(detail: dict[str, Any]) -> list[Change]:
    """`before` beside `after` (or `now`): two values, or two sets of named ones."""
    if "before" not in detail or not ("after" in detail or "now" in detail):
        return []
    before, after = detail["before"], detail.get("after", detail.get("now"))
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        return [
            Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
        ]
    return [Change("", before, after)]


def events(wanted: Filter, *, before: int | None = None, page_length: int = PAGE_LENGTH) -> EventPage:
    """One page of matching events, older than the event with the key `before`. Raises FilterRefused for a wrong key."""
    ids = page_of(wanted, before=before, limit=page_length + 1)
    shown = ids[:page_length]
    found = {event.pk: event for event in _listed().filter(pk__in=shown)}
    return EventPage([found[pk] for pk in shown], shown[-1] if len(ids) > page_length else None)


def _listed() -> QuerySet[AuditEvent]:
    return AuditEvent.objects.defer("canonical").prefetch_related("entities")


def open_event(uid: uuid.UUID) -> OpenEvent:
    """One event. Raises NotFound."""
    event = AuditEvent.objects.filter(uid=uid).first()
    if event is None:
        raise NotFound()
    related = list[AuditEvent]()
    if event.correlation is not None:
        same = AuditEvent.objects.filter(correlation=event.correlation).exclude(pk=event.pk)
        related = list(same.order_by("id").defer("canonical")[:NUM_RELATED])
    evidence = json.loads(bytes(event.canonical))
    entities = list(event.entities.order_by("pk"))
    place = Leaf.objects.filter(event=event).values_list("index", flat=True).first()
    return OpenEvent(event, evidence, entities, related, bytes(event.leaf_hash).hex(), place)


def record_look(
    detail: dict[str, Any], *, entities: tuple[Entity, ...] = (), actor: Actor, action: str = "audit.list"
) -> None:
    """Someone looked at a page of the audit: `detail` says with which filter, in ids and codes."""
    record(Event(EventType.REVIEW, action, entities=entities, detail=detail), actor=actor)


def record_opening(event: AuditEvent, *, actor: Actor) -> None:
    """Someone opened one event."""
    record(Event(EventType.REVIEW, "audit.open", entities=(Entity("event", str(event.uid)),)), actor=actor)
