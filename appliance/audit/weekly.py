"""Reviews of a period: what happened in it, findings, and a sign-off after which nothing of it changes.

Periods join: each begins where the one before ended, so that nothing lies between two reviews.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from appliance.audit import hours
from appliance.audit.models import Alert, AuditEvent, Checkpoint, EventType, Outcome, Review
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import BadRequest, Conflict, NotFound

FIRST_PERIOD = timedelta(days=7)
MAX_FINDINGS = 10_000


class AlertsOpen(Conflict):
    """A period is not closed over an alert that nobody has looked at."""

    code = "alerts_open"
    default_hint = "Acknowledge them, then sign off."


class ReviewOpen(Conflict):
    """There is one review at a time: `review` is the one under way."""

    code = "review_open"
    default_message = "A review is under way already."
    default_hint = "Sign that one off first."

    def __init__(self, review: Review) -> None:
        self.review = review
        super().__init__()


@dataclass(frozen=True, slots=True)
class Volumes:
    """What a period held, in events, alerts and people."""

    num_events: int
    by_type: list[tuple[str, int]]
    num_refused: int
    num_failed: int
    num_after_hours: int
    num_people: int
    alerts_open: int
    alerts_acknowledged: int


def all_reviews() -> list[Review]:
    """The newest hundred, newest first."""
    return list(Review.objects.order_by("-period_end", "-begun_at")[:100])


def find(pk: uuid.UUID) -> Review:
    """One review. Raises NotFound."""
    review = Review.objects.filter(pk=pk).first()
    if review is None:
        raise NotFound()
    return review


def do_begin(*, officer: uuid.UUID, actor: Actor) -> Review:
    """Begins the review of what happened since the last one, a week at the first time.

    Raises ReviewOpen while one is not signed off.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:  # of two officers who begin at once, one comes second
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('audit review', 0))")
        last = Review.objects.order_by("-period_end").first()
        if last is not None and last.signed_at is None:
            raise ReviewOpen(last)
        now = timezone.now()
        start = last.period_end if last else now - FIRST_PERIOD
        review = Review.objects.create(period_start=start, period_end=now, officer=officer)
        record(_event("review.begin", review), actor=actor)
    return review


def do_note(pk: uuid.UUID, findings: str, *, officer: uuid.UUID, actor: Actor) -> Review:
    """Keeps the findings so far. Raises NotFound, or Conflict when the review is signed."""
    with transaction.atomic():
        review = _unsigned(pk)
        review.findings, review.officer = _text(findings), officer
        review.save(update_fields=["findings", "officer"])
        record(_event("review.note", review), actor=actor)
    return review


def do_sign(pk: uuid.UUID, findings: str, *, officer: uuid.UUID, actor: Actor) -> Review:
    """Signs a review off, at the newest checkpoint. From then on the database refuses to change it.

    Raises NotFound, BadRequest without findings, Conflict when it is signed already, AlertsOpen.
    """
    findings = _text(findings)
    if not findings:
        raise BadRequest("A review needs findings: what you looked at, and what you found.", code="invalid_request")
    with transaction.atomic():
        review = _unsigned(pk)
        num_open = open_alerts(review).count()
        if not num_open:
            counted = volumes(review)
            head = Checkpoint.objects.order_by("-size").first()
            review.findings, review.officer, review.signed_at = findings, officer, timezone.now()
            review.num_events = counted.num_events
            review.num_alerts = counted.alerts_acknowledged
            review.checkpoint_size = head.size if head else None
            review.save()
            record(_event("review.sign", review), actor=actor)
    if num_open:
        record(_event("review.sign", review, Outcome.REFUSED), actor=actor)
        said = "1 alert is" if num_open == 1 else f"{num_open:,} alerts are"
        raise AlertsOpen(f"{said} still open that {'was' if num_open == 1 else 'were'} raised before the period ended.")
    return review


def open_alerts(review: Review) -> QuerySet[Alert]:
    """Alerts that stand in the way of signing: raised before the period's end, and open."""
    return Alert.objects.filter(acknowledged_at=None, raised_at__lt=review.period_end)


def volumes(review: Review) -> Volumes:
    """Counts over the period."""
    events = AuditEvent.objects.filter(recorded_at__gte=review.period_start, recorded_at__lt=review.period_end)
    by_type = events.values_list("type").annotate(number=Count("pk")).order_by("-number")
    labels = dict(EventType.choices)
    alerts = Alert.objects.filter(raised_at__lt=review.period_end)
    within = alerts.filter(raised_at__gte=review.period_start)
    outcomes = events.aggregate(
        refused=Count("pk", filter=Q(outcome=Outcome.REFUSED)),
        failed=Count("pk", filter=Q(outcome__in=(Outcome.FAILED, Outcome.ABORTED))),
        people=Count("actor_id", distinct=True),
    )
    typed = [(labels.get(kind, kind), number) for kind, number in by_type]
    return Volumes(
        num_events=sum(number for _, number in typed),
        by_type=typed,
        num_refused=outcomes["refused"],
        num_failed=outcomes["failed"],
        num_after_hours=_after_hours(review.period_start, review.period_end),
        num_people=outcomes["people"],
        alerts_open=open_alerts(review).count(),
        alerts_acknowledged=within.filter(acknowledged_at__isnull=False).count(),
    )


def changes(review: Review, limit: int = 100) -> list[AuditEvent]:
    """Emergency access and changes of rights in the period, newest first."""
    kinds = (EventType.GRANT, EventType.ACCOUNT, EventType.RETENTION)
    found = AuditEvent.objects.filter(
        recorded_at__gte=review.period_start, recorded_at__lt=review.period_end, type__in=kinds
    )
    return list(found.order_by("-recorded_at", "-id").defer("canonical").prefetch_related("entities")[:limit])


def _after_hours(start: datetime, end: datetime) -> int:
    sql = f"""
        SELECT count(*) FROM audit_auditevent e
        WHERE e.recorded_at >= %(start)s AND e.recorded_at < %(end)s AND e.actor_id IS NOT NULL AND {hours.SQL}
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, hours.parameters() | {"start": start, "end": end})
        return int(cursor.fetchone()[0])


def _unsigned(pk: uuid.UUID) -> Review:
    review = Review.objects.select_for_update().filter(pk=pk).first()
    if review is None:
        raise NotFound()
    if review.signed_at is not None:
        raise Conflict("This review is signed and stays as it is.", code="review_signed")
    return review


def _text(findings: str) -> str:
    findings = findings.strip()
    if len(findings) > MAX_FINDINGS:
        raise BadRequest(f"Findings are at most {MAX_FINDINGS:,} characters long.", code="invalid_request")
    return findings


def _event(action: str, review: Review, outcome: Outcome = Outcome.SUCCESS) -> Event:
    detail: dict[str, object] = {"from": review.period_start.isoformat(), "to": review.period_end.isoformat()}
    if review.signed_at is not None:
        detail |= {"events": review.num_events, "alerts": review.num_alerts, "checkpoint": review.checkpoint_size}
    return Event(EventType.REVIEW, action, outcome, entities=(Entity("review", str(review.pk)),), detail=detail)
