"""Rules that look at every event once and raise alerts for officers.

Events are taken up when their transaction can no longer be followed by an earlier one (see `audit.sealing`), from a
watermark on: none is passed over, none counted twice. An alert is raised once for what it is about (its key) and
counted up while it is open; after it was acknowledged the next occurrence raises a new one.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from appliance.audit.hours import is_after_hours
from appliance.audit.models import Alert, AlertRule, AuditEntity, AuditEvent, EventType, Outcome, Watermark
from appliance.audit.record import SYSTEM, Entity, Event, record
from appliance.audit.standing import standing

BATCH = 5_000
#: What counts as having read a document.
READING = (EventType.DISCLOSURE, EventType.ACCESS)
#: What counts as working with the appliance: one event for each act.
USE = frozenset(EventType) - {
    EventType.SIGN_IN,
    EventType.SIGN_OUT,
    EventType.DISCLOSURE,
    EventType.OUTCOME,
    EventType.REFUSAL,
    EventType.REVIEW,
}

_NEW = """
SELECT e.id, e.xid, e.recorded_at, e.type, e.action, e.outcome, e.actor_id, e.actor_name FROM audit_auditevent e
WHERE {after} AND e.xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY e.xid, e.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class New:
    """An event that no rule has seen yet."""

    id: int
    xid: int
    at: datetime
    type: str
    action: str
    outcome: str
    actor_id: uuid.UUID | None
    actor_name: str


@dataclass(frozen=True, slots=True)
class Hit:
    """Events that a rule found, and what the alert is about. `key` says when it is the same alert."""

    rule: AlertRule
    key: str
    events: Sequence[New]
    subject_kind: str = ""
    subject_id: str = ""


def do_watch() -> int:
    """Looks at what is new and raises what the rules find; returns how many events it looked at.

    Does nothing while another worker looks.
    """
    num_seen = 0
    while True:
        with transaction.atomic():
            mark = Watermark.objects.select_for_update(skip_locked=True).filter(name="alerts").first()
            events = _new_events(mark) if mark is not None else []
            if mark is None or not events:
                break
            for hit in _hits(events):
                _raise(hit)
            mark.cluster, mark.xid, mark.event = _cluster(), events[-1].xid, max(event.id for event in events)
            mark.save()
        num_seen += len(events)
    with transaction.atomic():
        if Watermark.objects.select_for_update(skip_locked=True).filter(name="alerts").exists():
            _watch_seal()
    return num_seen


def _cluster() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        return str(cursor.fetchone()[0])


def _new_events(mark: Watermark) -> list[New]:
    same = mark.cluster == _cluster()
    after = "e.xid >= %(xid)s AND (e.xid, e.id) > (%(xid)s, %(event)s)" if same else "e.id > %(event)s"
    with connection.cursor() as cursor:
        cursor.execute(_NEW.format(after=after), {"xid": mark.xid, "event": mark.event, "limit": BATCH})
        return [New(*row) for row in cursor.fetchall()]


def _hits(events: list[New]) -> Iterator[Hit]:
    yield from _bulk_reading(events)
    yield from _after_hours(events)
    yield from _walls(events)
    yield from _refusals(events)
    yield from _broken_glass(events)


def _bulk_reading(events: list[New]) -> Iterator[Hit]:
    """So many different documents, read or shown in passages, by one person in so short a time."""
    window = timedelta(minutes=settings.ALERT_BULK_MINUTES)
    for person, new in _by_person(e for e in events if e.type in READING).items():
        rows = AuditEntity.objects.filter(
            kind="document",
            event__actor_id=person,
            event__type__in=READING,
            event__recorded_at__gte=min(e.at for e in new) - window,
            event__recorded_at__lte=max(e.at for e in new),
        ).values_list("event__recorded_at", "event_id", "object_id")
        found = _crowded(rows.order_by("event__recorded_at", "event_id"), window, settings.ALERT_BULK_DOCUMENTS)
        if hits := [e for e in new if e.id in found]:
            yield Hit(AlertRule.BULK_READING, f"{person}:{_day(hits[0].at)}", hits)


def _after_hours(events: list[New]) -> Iterator[Hit]:
    used = (e for e in events if e.type in USE and e.outcome == Outcome.SUCCESS and is_after_hours(e.at))
    for person, new in _by_person(used).items():
        by_day = defaultdict(list)
        for event in new:
            by_day[_day(event.at)].append(event)
        for day, hits in by_day.items():
            yield Hit(AlertRule.AFTER_HOURS, f"{person}:{day}", hits)


def _walls(events: list[New]) -> Iterator[Hit]:
    touched = [e for e in events if e.action == "wall.refused"]
    things = _things("wall", touched)
    for event in touched:
        for wall in things.get(event.id, [""]):
            yield Hit(AlertRule.WALL_TOUCHED, f"{event.actor_id}:{wall}", [event], "wall", wall)


def _broken_glass(events: list[New]) -> Iterator[Hit]:
    opened = [e for e in events if e.action == "break_glass.open" and e.outcome == Outcome.SUCCESS]
    things = _things("break_glass", opened)
    for event in opened:
        for broken in things.get(event.id, [""])[:1]:
            yield Hit(AlertRule.BREAK_GLASS, broken, [event], "break_glass", broken)


def _refusals(events: list[New]) -> Iterator[Hit]:
    """So many refusals in so short a time: of one person, or, where nobody was signed in, from one address."""
    refused = [e for e in events if e.outcome == Outcome.REFUSED]
    if not refused:
        return
    window = timedelta(minutes=settings.ALERT_REFUSAL_MINUTES)
    for person, new in _by_person(refused).items():
        rows = AuditEvent.objects.filter(actor_id=person, outcome=Outcome.REFUSED)
        times = _between(rows, new, window).values_list("recorded_at", "pk", "pk")
        found = _crowded(times, window, settings.ALERT_REFUSALS)
        if hits := [e for e in new if e.id in found]:
            yield Hit(AlertRule.REPEATED_REFUSALS, f"{person}:{_day(hits[0].at)}", hits)
    unknown = [e for e in refused if e.actor_id is None]
    if unknown:
        rows = AuditEvent.objects.filter(actor_id=None, outcome=Outcome.REFUSED)
        yield from _by_address(_between(rows, unknown, window), unknown, window)


def _by_address(rows: Iterable[AuditEvent], new: list[New], window: timedelta) -> Iterator[Hit]:
    known = {event.id: event for event in new}
    by_address = defaultdict(list)
    for row in rows:
        address = json.loads(bytes(row.canonical))["agent"]["address"]
        by_address[str(address)[:64]].append((row.recorded_at, row.pk, row.pk))
    for address, times in by_address.items():
        found = _crowded(times, window, settings.ALERT_REFUSALS)
        if address and (hits := [known[pk] for pk in sorted(found) if pk in known]):
            key = f"{address}:{_day(hits[0].at)}"
            yield Hit(AlertRule.REPEATED_REFUSALS, key, hits, "address", address)


def _between(rows: QuerySet[AuditEvent], new: list[New], window: timedelta) -> QuerySet[AuditEvent]:
    first, last = min(e.at for e in new) - window, max(e.at for e in new)
    return rows.filter(recorded_at__gte=first, recorded_at__lte=last).order_by("recorded_at", "pk")


def _crowded(rows: Iterable[tuple[datetime, int, object]], window: timedelta, limit: int) -> set[int]:
    """Ids of the events, in the order of time, at which `limit` different things lie within `window` before it."""
    recent: deque[tuple[datetime, object]] = deque()
    counts: Counter[object] = Counter()
    found = set()
    for at, event, thing in rows:
        recent.append((at, thing))
        counts[thing] += 1
        while recent[0][0] < at - window:
            _, old = recent.popleft()
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
        if len(counts) >= limit:
            found.add(event)
    return found


def _by_person(events: Iterable[New]) -> dict[uuid.UUID, list[New]]:
    found = defaultdict(list)
    for event in events:
        if event.actor_id is not None:
            found[event.actor_id].append(event)
    return found


def _things(kind: str, events: list[New]) -> dict[int, list[str]]:
    found = defaultdict(list)
    rows = AuditEntity.objects.filter(kind=kind, event_id__in=[event.id for event in events])
    for event, thing in rows.order_by("pk").values_list("event_id", "object_id"):
        found[event].append(thing)
    return found


def _day(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d}"


def _raise(hit: Hit) -> None:
    """Counts up the open alert of this key, or raises one."""
    key = f"{hit.rule}:{hit.key}"
    first, last = min(hit.events, key=lambda e: e.id), max(hit.events, key=lambda e: e.id)
    earlier = Alert.objects.filter(Q(key=key) | Q(key__startswith=f"{key}#"), rule=hit.rule)
    open_one = earlier.select_for_update().filter(acknowledged_at=None).order_by("-raised_at").first()
    if open_one is not None:
        Alert.objects.filter(pk=open_one.pk).update(
            num_events=F("num_events") + len(hit.events), last_at=last.at, last_event=last.id
        )
        return
    num_before = earlier.count()
    actor = last.actor_id
    made = Alert.objects.create(
        rule=hit.rule,
        key=f"{key}#{num_before}" if num_before else key,
        actor_id=actor,
        actor_name=last.actor_name if actor else "",
        subject_kind=hit.subject_kind,
        subject_id=hit.subject_id,
        num_events=len(hit.events),
        first_at=first.at,
        last_at=last.at,
        first_event=first.id,
        last_event=last.id,
    )
    _record_raised(made)


def _record_raised(alert: Alert) -> None:
    entities: tuple[Entity, ...] = (Entity("alert", str(alert.pk)),)
    if alert.actor_id is not None:
        entities += (Entity("user", str(alert.actor_id)),)
    record(Event(EventType.REVIEW, "alert.raise", entities=entities, detail={"rule": alert.rule}), actor=SYSTEM)


def _watch_seal() -> None:
    now = standing()
    if not now.is_late:
        return
    at = timezone.now()
    late = Alert.objects.select_for_update().filter(rule=AlertRule.SEAL_BEHIND, acknowledged_at=None).first()
    if late is not None:
        Alert.objects.filter(pk=late.pk).update(num_events=F("num_events") + 1, last_at=at)
        return
    began = at - timedelta(seconds=now.behind_s)
    key = f"{AlertRule.SEAL_BEHIND}:{at:%Y-%m-%dT%H:%M:%S.%f}"
    _record_raised(Alert.objects.create(rule=AlertRule.SEAL_BEHIND, key=key, first_at=began, last_at=at))
