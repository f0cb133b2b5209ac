"""The events that a report is made from: the oldest first, up to a limit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from appliance.audit.models import AuditEntity, AuditEvent, EventType, Outcome
from appliance.ops.reports.model import MAX_EVENTS, Of, Period, Subject

_BATCH = 500
#: What puts a document before somebody: passages, pages, files. Rules that are explained show no document.
_SHOWN = Q(type=EventType.DISCLOSURE) | Q(type=EventType.ACCESS, action__startswith="document.")


@dataclass(frozen=True, slots=True)
class Found:
    """Events with their entities and leaves, and whether there were more."""

    events: list[AuditEvent]
    truncated: bool


def shown(subject: Subject, period: Period, *, limit: int = MAX_EVENTS) -> Found:
    """Every event that showed a document: of this subject, to anybody; of a person, to them."""
    events = _within(period).filter(_SHOWN, outcome=Outcome.SUCCESS)
    if subject.of == Of.PERSON:
        return _load([events.filter(actor_id=subject.person)], limit)
    if subject.of == Of.REFERENCE:
        return _load([events.filter(pk__in=_about("break_glass", [str(pk) for pk in subject.glass]))], limit)
    return _load([events.filter(pk__in=_about("document", subject.documents))], limit)


def concerning(subject: Subject, period: Period, *, limit: int = MAX_EVENTS) -> Found:
    """Every event by a person, and every event about them."""
    events = _within(period)
    about = _about("user", [str(subject.person)])
    return _load([events.filter(actor_id=subject.person), events.filter(pk__in=about)], limit)


def _within(period: Period) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.all()
    if period.start:
        events = events.filter(recorded_at__gte=period.start)
    return events.filter(recorded_at__lt=period.end) if period.end else events


def _about(kind: str, ids: Iterable[str]) -> QuerySet[AuditEntity, Any]:
    return AuditEntity.objects.filter(kind=kind, object_id__in=list(ids)).values("event")


def _load(sources: list[QuerySet[AuditEvent]], limit: int) -> Found:
    keys = set()
    for source in sources:
        keys |= set(source.order_by("recorded_at", "pk").values_list("recorded_at", "pk")[: limit + 1])
    ordered = [pk for _, pk in sorted(keys)]
    events: list[AuditEvent] = []
    for first in range(0, min(len(ordered), limit), _BATCH):
        wanted = ordered[first : min(first + _BATCH, limit)]
        rows = AuditEvent.objects.filter(pk__in=wanted).select_related("leaf").prefetch_related("entities")
        by_key = {event.pk: event for event in rows}
        events += [by_key[pk] for pk in wanted]
    return Found(events, len(ordered) > limit)
