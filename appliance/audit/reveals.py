"""Reading what was asked and answered: one officer asks, another person decides, and it is over after an hour.

    ask      an officer says why they must read one question and its answer; nothing opens yet
    decide   a content approver who is somebody else, and not whoever asked the question, allows or refuses it
    read     the officer reads, as often as needed until it ends; each time is an event

The database holds the same rules a second time: it shows the texts to nobody else, and at no other time. Roles are the
caller's to check: people live further left.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from appliance.audit import content
from appliance.audit.models import AuditEvent, EventType, Outcome, Reveal
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.crypto import DecryptionError
from appliance.lib.errors import ApplianceError, BadRequest, Conflict, NotFound

MAX_REASON_CHARS = 500
MAX_REFERENCE_CHARS = 100


class NotRevealed(ApplianceError):
    """The officer may not read it, or not any more."""

    code = "reveal_ended"
    http_status = 403
    default_message = "You may not read this question and its answer now."
    default_hint = "Ask for it, and wait until a content approver has allowed it."


class ContentDamaged(ApplianceError):
    """What is kept is not what was committed to."""

    code = "content_damaged"
    http_status = 500
    default_message = "The text that is kept is not the one that was recorded."
    default_hint = "The event and its fingerprint still stand. Tell an administrator: the database was changed."


class OwnReveal(BadRequest):
    """A second person is a second person."""

    code = "own_request"
    http_status = 403
    default_message = "You asked for this, or the question is yours, so someone else must decide."
    default_hint = "Ask another content approver."


@dataclass(frozen=True, slots=True)
class Standing:
    """How a question stands for one officer: their newest request, if any, and whether it lets them read now."""

    reveal: Reveal | None

    @property
    def waits(self) -> bool:
        """Whether it waits for a second person."""
        return self.reveal is not None and self.reveal.approved is None

    @property
    def is_open(self) -> bool:
        """Whether the officer may read now."""
        ends = self.reveal.expires_at if self.reveal is not None and self.reveal.approved else None
        return ends is not None and ends > timezone.now()

    @property
    def has_ended(self) -> bool:
        """Whether it was allowed and is over."""
        return self.reveal is not None and bool(self.reveal.approved) and not self.is_open

    @property
    def was_refused(self) -> bool:
        """Whether the second person said no."""
        return self.reveal is not None and self.reveal.approved is False


def question_event(correlation: uuid.UUID) -> AuditEvent:
    """The event that a text of this question is committed to by, the first of them. Raises NotFound."""
    for event in AuditEvent.objects.filter(correlation=correlation).order_by("pk"):
        if content.COMMITMENT.encode() in bytes(event.canonical):
            return event
    raise NotFound("No text was kept for this question.", code="content_not_found")


def question_events(correlations: Iterable[uuid.UUID]) -> dict[uuid.UUID, AuditEvent]:
    """The first event of each of these questions: who asked, and when."""
    first = AuditEvent.objects.filter(correlation__in=set(correlations)).order_by("correlation", "pk")
    found = first.distinct("correlation").defer("canonical")
    return {event.correlation: event for event in found if event.correlation is not None}


def standing_of(correlation: uuid.UUID, officer: uuid.UUID) -> Standing:
    """How the question stands for this officer."""
    newest = Reveal.objects.filter(correlation=correlation, requested_by=officer).order_by("-requested_at").first()
    return Standing(newest)


def do_ask(correlation: uuid.UUID, *, reason: str, reference: str, by: uuid.UUID, actor: Actor) -> Reveal:
    """Writes a request down. Asking again while one waits, or while one lets them read, returns that one.

    Raises NotFound when nothing was kept, and BadRequest without a reason.
    """
    question_event(correlation)
    reason, reference = " ".join(reason.split()), " ".join(reference.split())
    if not reason:
        raise BadRequest(
            "A request needs a reason.", hint="Say in a sentence why you must read it.", code="reason_needed"
        )
    if len(reason) > MAX_REASON_CHARS or len(reference) > MAX_REFERENCE_CHARS:
        raise BadRequest(
            f"A reason has at most {MAX_REASON_CHARS} characters, a reference {MAX_REFERENCE_CHARS}.",
            code="invalid_request",
        )
    with transaction.atomic():
        with connection.cursor() as cursor:  # of two equal requests at once, one is the second
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"reveal {correlation} {by}"])
        now = standing_of(correlation, by)
        if now.reveal is not None and (now.waits or now.is_open):
            return now.reveal
        reveal = Reveal.objects.create(correlation=correlation, reason=reason, reference=reference, requested_by=by)
        record(_event("reveal.request", reveal), actor=actor)
    return reveal


def do_decide(reveal_id: uuid.UUID, *, approved: bool, by: uuid.UUID, actor: Actor) -> Reveal:
    """Allows or refuses a request. Raises NotFound, OwnReveal, and Conflict (`already_decided`)."""
    reveal = Reveal.objects.filter(pk=reveal_id).first()
    if reveal is None:
        raise NotFound()
    action = "reveal.approve" if approved else "reveal.refuse"
    if not may_decide(reveal, question_event(reveal.correlation), by):
        record(_event(action, reveal, Outcome.REFUSED), actor=actor)
        raise OwnReveal()
    with transaction.atomic():
        now = timezone.now()
        ends = now + timedelta(seconds=settings.REVEAL_S) if approved else None
        changed = Reveal.objects.filter(pk=reveal.pk, approved=None).update(
            approved=approved, decided_by=by, decided_at=now, expires_at=ends
        )
        if not changed:
            raise Conflict("This was decided already.", hint="Reload the page.", code="already_decided")
        record(_event(action, reveal), actor=actor)
    reveal.refresh_from_db()
    return reveal


def may_decide(reveal: Reveal, question: AuditEvent, approver: uuid.UUID) -> bool:
    """Whether a content approver may decide this one: it is not theirs, and the question was not theirs."""
    return approver not in (reveal.requested_by, question.actor_id)


def do_read(correlation: uuid.UUID, *, by: uuid.UUID, actor: Actor) -> tuple[Reveal, list[content.Kept]]:
    """The texts, and the request they are read under. Recorded before they are handed out, and a refusal too.

    Raises NotFound when nothing was kept, NotRevealed, and ContentDamaged.
    """
    question_event(correlation)
    now = standing_of(correlation, by)
    if now.reveal is None or not now.is_open:
        code = "reveal_ended" if now.has_ended else "reveal_not_allowed"
        refused = Event(
            EventType.REVEAL, "reveal.view", Outcome.REFUSED, correlation=correlation, detail={"code": code}
        )
        record(refused, actor=actor)
        raise NotRevealed("The time to read this is over." if now.has_ended else "", code=code)
    record(_event("reveal.view", now.reveal), actor=actor)
    try:
        return now.reveal, content.open_(correlation)
    except DecryptionError as error:
        failed = _event("reveal.view", now.reveal, Outcome.FAILED)
        record(failed, actor=actor)
        raise ContentDamaged() from error


def waiting() -> QuerySet[Reveal]:
    """Requests that nobody has decided, oldest first, as far as the database shows them to whoever asks."""
    return Reveal.objects.filter(approved=None).order_by("requested_at")


def decided() -> QuerySet[Reveal]:
    """Requests that were decided, newest first."""
    return Reveal.objects.exclude(approved=None).order_by("-decided_at")


def asked_by(officer: uuid.UUID) -> QuerySet[Reveal]:
    """What an officer asked for, newest first."""
    return Reveal.objects.filter(requested_by=officer).order_by("-requested_at")


def num_waiting_for(approver: uuid.UUID) -> int:
    """How many requests an approver may decide."""
    found = list(waiting().exclude(requested_by=approver)[:100])
    questions = question_events(reveal.correlation for reveal in found)
    return sum(may_decide(reveal, questions[reveal.correlation], approver) for reveal in found)


def _event(action: str, reveal: Reveal, outcome: Outcome = Outcome.SUCCESS) -> Event:
    about = (Entity("reveal", str(reveal.pk)), Entity("user", str(reveal.requested_by)))
    return Event(EventType.REVEAL, action, outcome, correlation=reveal.correlation, entities=about)
