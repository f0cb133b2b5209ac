"""One answer, from question to outcome. The chat page, the gateway and the command all go through here.

    intent recorded -> passages searched under the reader's rights -> disclosure recorded
      -> model streams, each citation resolved and checked, the reader's rights looked at again every two seconds
      -> outcome recorded, whatever happened

No step runs when the record before it failed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from django.conf import settings

from appliance.accounts.models import User
from appliance.accounts.standing import in_good_standing
from appliance.audit.content import record_with
from appliance.audit.models import ContentKind, EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, asked_for, record
from appliance.chat.grounding import prompt
from appliance.chat.grounding.holder import AnswerHolder, HeldSentence
from appliance.chat.grounding.passages import number_passages
from appliance.chat.grounding.prompt import Turn
from appliance.chat.watching import while_allowed
from appliance.documents.access import documents_for
from appliance.documents.outline import outlines
from appliance.documents.retrieval.amendments import amendments_to
from appliance.documents.search import Coverage, search
from appliance.lib.errors import AccessEnded, ApplianceError, BadRequest, QuestionTooLong
from appliance.lib.failures import translate
from appliance.lib.threads import in_thread
from appliance.llm import client

log = logging.getLogger(__name__)

EFFORTS = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, by whom, of what. `correlation` ties the audit events of this question together."""

    user: User
    actor: Actor
    text: str
    collection_ids: tuple[uuid.UUID | str, ...] = ()
    history: tuple[Turn, ...] = ()
    effort: str = "medium"
    model: str = ""
    correlation: uuid.UUID = field(default_factory=uuid.uuid4)
    about: tuple[Entity, ...] = ()  # the conversation, for the audit


@dataclass(frozen=True, slots=True)
class Searched:
    """The search is done and its disclosure recorded."""

    coverage: Coverage
    holder: AnswerHolder  # grows while the answer is written


@dataclass(frozen=True, slots=True)
class Waiting:
    """The model is busy with others; `position` in the line is 1 for the next."""

    position: int


@dataclass(frozen=True, slots=True)
class Written:
    """The model wrote: `added` is the new canonical text, `finished` the sentences it completed."""

    added: str
    finished: list[HeldSentence]
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """The answer is whole."""

    holder: AnswerHolder
    finish_reason: str
    usage: dict[str, int]
    model: str


AnswerEvent = Searched | Waiting | Written | Completed


def check_question(text: str, effort: str = "medium") -> str:
    """The question without surrounding space. Raises BadRequest (`question_empty`) or QuestionTooLong."""
    text = text.replace("\x00", "").strip()
    if not text:
        raise BadRequest("The question is empty.", hint="Write a question and send it again.", code="question_empty")
    if len(text) > settings.MAX_QUESTION_CHARS:
        limit = settings.MAX_QUESTION_CHARS
        raise QuestionTooLong(f"The question has {len(text):,} characters; at most {limit:,} are read.")
    if effort not in EFFORTS:
        raise BadRequest(f"Effort is one of {', '.join(EFFORTS)}.")
    return text


async def answer(question: Question) -> AsyncGenerator[AnswerEvent]:
    """Answers one question. Raises ApplianceErrors; closing the iterator stops the model and records so.

    The outcome event is written exactly once, for every way this can end.
    """
    check_question(question.text, question.effort)
    await in_thread(_record_intent, question)
    outcome = Outcome.STOPPED
    detail: dict[str, object] = {}
    holder: AnswerHolder | None = None
    try:
        searched = await in_thread(_search, question)
        holder = searched.holder
        yield searched
        async with (
            aclosing(_written(question, holder)) as written,  # a stop closes the model's stream at once
            aclosing(while_allowed(written, partial(_still_allowed, question, holder))) as events,
        ):
            async for event in events:
                if isinstance(event, Completed):
                    outcome = Outcome.SUCCESS
                    detail = {"finish_reason": event.finish_reason, "usage": event.usage, "model": event.model}
                yield event
    except (GeneratorExit, asyncio.CancelledError):
        raise
    except AccessEnded as error:
        outcome, detail = Outcome.REFUSED, {"code": error.public_code}
        raise
    except BaseException as error:
        outcome, detail = Outcome.FAILED, {"code": translate(error).public_code}
        raise
    finally:
        if holder is not None:
            detail |= {
                "citations": len(holder.citations),
                "dropped": holder.dropped,
                "chars": len(holder.text),
            }
        written_text = holder.text if holder is not None else ""
        await asyncio.shield(in_thread(_record_outcome, question, outcome, detail, written_text))


async def _written(question: Question, holder: AnswerHolder) -> AsyncGenerator[Waiting | Written | Completed]:
    messages = prompt.messages(question.text, list(holder.passages.values()), question.history)
    model = question.model or await in_thread(client.chat_model)
    finish_reason, usage = "", dict[str, int]()
    deltas = client.chat_stream(messages, model=model, person=question.user.pk, effort=question.effort)
    async with aclosing(deltas) as stream:
        async for delta in stream:
            if delta.queue_position is not None:
                yield Waiting(delta.queue_position)
            before = len(holder.text)
            finished = holder.feed(delta.text) if delta.text else []
            if delta.text or delta.reasoning:
                yield Written(holder.text[before:], finished, delta.reasoning)
            finish_reason = delta.finish_reason or finish_reason
            usage = delta.usage or usage
    finished = holder.finish()
    if finished:
        yield Written("", finished)
    yield Completed(holder, finish_reason, usage, model)


def _record_intent(question: Question) -> None:
    entities = (*question.about, *asked_for("collection", question.collection_ids))
    detail = {"chars": len(question.text), "effort": question.effort, "turns": len(question.history)}
    event = Event(EventType.INTENT, "answer.ask", correlation=question.correlation, entities=entities, detail=detail)
    record_with(event, ContentKind.QUESTION, question.text, actor=question.actor)


def _search(question: Question) -> Searched:
    """Finds the passages and records them as disclosed, before anything else sees them."""
    found = search(question.user, question.text, collection_ids=question.collection_ids, k=settings.PASSAGES_PER_ANSWER)
    passages = [*found.passages, *amendments_to(question.user, found.passages, collection_ids=question.collection_ids)]
    entities = tuple(passage.entity() for passage in passages)
    event = Event(
        EventType.DISCLOSURE,
        "answer.passages",
        correlation=question.correlation,
        entities=(*question.about, *entities),
        detail=found.coverage.as_dict() | {"passages": len(entities)},
    )
    record(event, actor=question.actor)
    numbered = number_passages(passages, outlines(passage.version_id for passage in passages))
    return Searched(found.coverage, AnswerHolder.over(numbered))


def _still_allowed(question: Question, holder: AnswerHolder) -> bool:
    """Whether the asker may still ask, and see every document whose passages the model was given."""
    if not in_good_standing(question.actor):
        return False
    wanted = {passage.passage.document_id for passage in holder.passages.values()}
    return documents_for(question.user).order_by().filter(pk__in=wanted).count() == len(wanted)


def _record_outcome(question: Question, outcome: Outcome, detail: dict[str, object], text: str) -> None:
    event = Event(
        EventType.OUTCOME,
        "answer.finish",
        outcome,
        correlation=question.correlation,
        entities=question.about,
        detail=detail,
    )
    try:
        record_with(event, ContentKind.ANSWER, text, actor=question.actor)
    except ApplianceError:
        if outcome is Outcome.SUCCESS:
            raise
        # It has failed already: the first cause is what the reader is told.
        log.warning("outcome of %s not recorded", question.correlation)
