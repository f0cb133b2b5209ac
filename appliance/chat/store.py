"""The rows of an answer that is being written. Blocking: called in threads."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.db import OperationalError, transaction
from django.db.models.functions import Now
from django.utils import timezone

from appliance.audit.content import record_with
from appliance.audit.models import ContentKind, EventType, Outcome
from appliance.audit.record import SYSTEM, Actor, Entity, Event
from appliance.chat.answering import Completed, Question
from appliance.chat.grounding.holder import AnswerHolder
from appliance.chat.grounding.prompt import Turn
from appliance.chat.models import Citation, Message, MessageStatus
from appliance.lib.errors import ApplianceError
from appliance.lib.text import storable

log = logging.getLogger(__name__)

_WRITABLE = (MessageStatus.PENDING, MessageStatus.WRITING)
_SILENT_S = 60


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An answer's row as followers in other processes see it."""

    text: str
    status: str
    finished: bool
    coverage: dict[str, int]
    numbers: dict[int, int]  # of the citations stored so far: ordinal to the number shown


def question_for(answer_id: uuid.UUID, actor: Actor) -> Question | None:
    """The question an answer is to be written for; None when it was stopped before it began."""
    answer = Message.objects.select_related("conversation__owner").get(pk=answer_id)
    if answer.status not in _WRITABLE:
        return None
    conversation = answer.conversation
    earlier = conversation.messages.filter(ordinal__lt=answer.ordinal).order_by("-ordinal")
    question = earlier[0]
    turns = [Turn(m.role, m.text) for m in earlier[1:9] if m.text and m.status != MessageStatus.FAILED]
    return Question(
        user=conversation.owner,
        actor=actor,
        text=question.text,
        collection_ids=tuple(conversation.collections.values_list("pk", flat=True)),
        history=tuple(reversed(turns)),
        effort=answer.effort,
        correlation=answer.pk,
        about=(Entity("conversation", str(conversation.pk)), Entity("answer", str(answer.pk))),
    )


def begin(answer_id: uuid.UUID, coverage: dict[str, int]) -> bool:
    """Marks an answer as being written. False when it was stopped meanwhile."""
    rows = Message.objects.filter(pk=answer_id, status=MessageStatus.PENDING)
    return bool(rows.update(status=MessageStatus.WRITING, coverage=coverage, heartbeat_at=Now()))


def beat(answer_id: uuid.UUID, text: str) -> bool:
    """Saves the text so far and shows that someone is writing. False when the answer was stopped.

    A database that does not answer is not a reason to stop: the next beat or the end saves again.
    """
    try:
        rows = Message.objects.filter(pk=answer_id, status=MessageStatus.WRITING)
        return bool(rows.update(text=storable(text), heartbeat_at=Now()))
    except OperationalError as error:
        log.warning("answer %s not saved for now: %s", answer_id, type(error).__name__)
        return True


def snapshot(answer_id: uuid.UUID) -> Snapshot:
    """The answer's row now."""
    row = Message.objects.get(pk=answer_id)
    numbers = dict(row.citations.values_list("ordinal", "number"))
    return Snapshot(row.text, row.status, row.is_finished, row.coverage, numbers)


def finish(
    answer_id: uuid.UUID,
    holder: AnswerHolder | None,
    completed: Completed | None,
    error: ApplianceError | None,
    *,
    stopped: bool,
) -> str:
    """Stores the end of an answer with its citations, in one transaction; returns its status."""
    status = MessageStatus.FAILED if error else MessageStatus.STOPPED if stopped else MessageStatus.FINISHED
    with transaction.atomic():
        answer = Message.objects.select_for_update().get(pk=answer_id)
        answer.status, answer.finished_at, answer.heartbeat_at = status, timezone.now(), None
        if completed is not None:
            answer.engine, answer.usage = completed.model[:100], completed.usage
        if error is not None:
            answer.error_code, answer.error_message, answer.error_hint = (
                error.public_code,
                error.message,
                error.hint,
            )
        if holder is not None:
            holder.finish()
            answer.text = storable(holder.text)
            answer.citations_dropped = holder.dropped
            answer.unsupported = [list(span) for span in holder.unsupported]
        answer.save()
        if holder is not None:
            answer.citations.all().delete()
            Citation.objects.bulk_create(_citations(answer, holder))
    return str(status)


def _citations(answer: Message, holder: AnswerHolder) -> list[Citation]:
    return [
        Citation(
            message=answer,
            ordinal=cited.ordinal,
            number=cited.number,
            version_id=cited.passage.passage.version_id,
            title=cited.passage.passage.title,
            heading=cited.heading[:300],
            page=cited.page,
            start=cited.start,
            end=cited.end,
            quote=cited.quote,
            verified=cited.verified,
        )
        for cited in holder.citations
    ]


def close_abandoned() -> int:
    """Ends answers whose writer is gone, and records them as aborted. Returns how many."""
    silent = Message.objects.filter(status__in=_WRITABLE, heartbeat_at__lt=Now() - timedelta(seconds=_SILENT_S))
    closed = 0
    for answer in silent.select_related("conversation__owner"):
        with transaction.atomic():
            rows = silent.filter(pk=answer.pk).update(
                status=MessageStatus.FAILED,
                finished_at=Now(),
                heartbeat_at=None,
                error_code="interrupted",
                error_message="The appliance was restarted while this answer was written.",
                error_hint="Your question is kept. Ask it again.",
            )
            if rows:
                entities = (
                    Entity("conversation", str(answer.conversation_id)),
                    Entity("answer", str(answer.pk)),
                )
                event = Event(
                    EventType.OUTCOME,
                    "answer.finish",
                    Outcome.ABORTED,
                    correlation=answer.pk,
                    entities=entities,
                )
                record_with(event, ContentKind.ANSWER, answer.text, actor=SYSTEM)
                closed += 1
    return closed
