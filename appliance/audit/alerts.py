"""The queue of alerts: what is open, and acknowledging it with a note. Acknowledging is recorded."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from appliance.audit.models import Alert, AlertRule, EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import BadRequest, Conflict, NotFound

PAGE_LENGTH = 50
_MOST_AT_ONCE = 10_000


class NoteNeeded(BadRequest):
    """Emergency access, and what is about oneself, is not waved through without a word."""

    code = "note_needed"
    default_message = "This alert needs a note that says what you found."
    default_hint = "Write one and acknowledge it again."


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Alerts, newest first, and from which one the next page goes on."""

    alerts: list[Alert]
    next_before: uuid.UUID | None


def num_open() -> int:
    """How many wait for an officer."""
    return Alert.objects.filter(acknowledged_at=None).count()


def queue(
    *, is_open: bool, rule: str = "", person: uuid.UUID | None = None, before: uuid.UUID | None = None
) -> AlertPage:
    """One page of the queue. Raises BadRequest for an unknown rule or page."""
    found = Alert.objects.filter(acknowledged_at__isnull=is_open)
    if rule:
        if rule not in AlertRule.values:
            raise BadRequest(f"“{rule[:40]}” is no rule.", hint="Choose one from the list.", code="filter_refused")
        found = found.filter(rule=rule)
    if person is not None:
        found = found.filter(actor_id=person)
    if before is not None:
        last = Alert.objects.filter(pk=before).first()
        if last is None:
            raise BadRequest("There is no page from there on.", code="filter_refused")
        found = found.filter(Q(raised_at__lt=last.raised_at) | Q(raised_at=last.raised_at, pk__lt=last.pk))
    shown = list(found.order_by("-raised_at", "-pk")[: PAGE_LENGTH + 1])
    more = len(shown) > PAGE_LENGTH
    shown = shown[:PAGE_LENGTH]
    return AlertPage(shown, shown[-1].pk if more else None)


def do_acknowledge(pk: uuid.UUID, *, note: str, officer: uuid.UUID, actor: Actor) -> Alert:
    """Takes an alert out of the queue. Raises NotFound, Conflict (`already_acknowledged`), or NoteNeeded."""
    with transaction.atomic():
        alert = Alert.objects.select_for_update().filter(pk=pk).first()
        if alert is None:
            raise NotFound()
        if alert.acknowledged_at is not None:
            raise Conflict("Someone was faster.", hint="Reload the page.", code="already_acknowledged")
        note = note.strip()[:1_000]
        if not note and _needs_note(alert, officer):
            refused = True
        else:
            refused = False
            _acknowledge(alert, note, officer, actor)
    if refused:
        record(_event(alert, officer, Outcome.REFUSED), actor=actor)
        raise NoteNeeded()
    return alert


def do_acknowledge_all(rule: str, person: uuid.UUID | None, *, note: str, officer: uuid.UUID, actor: Actor) -> int:
    """Takes all open alerts of one rule and person (None: of nobody) out of the queue; returns how many they were.

    One event for each. Raises NoteNeeded when one of them needs a note, and then changes nothing.
    """
    if rule not in AlertRule.values:
        raise BadRequest(f"“{rule[:40]}” is no rule.", code="filter_refused")
    note = note.strip()[:1_000]
    with transaction.atomic():
        found = list(_open_of(rule, person).select_for_update()[:_MOST_AT_ONCE])
        if not note and (strict := next((alert for alert in found if _needs_note(alert, officer)), None)):
            refused = _event(strict, officer, Outcome.REFUSED)
        else:
            for alert in found:
                _acknowledge(alert, note, officer, actor)
            return len(found)
    record(refused, actor=actor)
    raise NoteNeeded()


def _open_of(rule: str, person: uuid.UUID | None) -> QuerySet[Alert]:
    return Alert.objects.filter(rule=rule, actor_id=person, acknowledged_at=None).order_by("raised_at")


def _needs_note(alert: Alert, officer: uuid.UUID) -> bool:
    return alert.rule == AlertRule.BREAK_GLASS or alert.actor_id == officer


def _acknowledge(alert: Alert, note: str, officer: uuid.UUID, actor: Actor) -> None:
    alert.acknowledged_by, alert.acknowledged_at, alert.note = officer, timezone.now(), note
    alert.save(update_fields=["acknowledged_by", "acknowledged_at", "note"])
    record(_event(alert, officer), actor=actor)


def _event(alert: Alert, officer: uuid.UUID, outcome: Outcome = Outcome.SUCCESS) -> Event:
    entities: tuple[Entity, ...] = (Entity("alert", str(alert.pk)),)
    if alert.actor_id is not None:
        entities += (Entity("user", str(alert.actor_id)),)
    detail = {"rule": alert.rule, "events": alert.num_events, "own": alert.actor_id == officer}
    return Event(EventType.REVIEW, "alert.acknowledge", outcome, entities=entities, detail=detail)
