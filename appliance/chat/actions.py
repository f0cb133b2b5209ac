"""What can be done with conversations. Only their owner can."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max, QuerySet
from django.utils import timezone

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.chat import generations
from appliance.chat.answering import check_question
from appliance.chat.models import Citation, Conversation, Message, MessageStatus
from appliance.documents.access import access_document, as_uuid, named_collections
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.text import clean_name

_TITLE_LENGTH = 80
_CITATIONS_RECORDED = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A question in its conversation, and the answer to be written."""

    conversation: Conversation
    question: Message
    answer: Message


def conversations_of(user: User, query: str = "") -> QuerySet[Conversation]:
    """This person's conversations, latest first; with `query`, those whose title or messages hold it."""
    mine = Conversation.objects.filter(owner=user)
    if query.strip():
        holding = Message.objects.filter(conversation__owner=user, text__icontains=query.strip())
        mine = mine.filter(title__icontains=query.strip()) | mine.filter(pk__in=holding.values("conversation"))
    return mine.order_by("-updated_at", "-id")


def access_conversation(user: User, conversation_id: uuid.UUID | str) -> Conversation:
    """A conversation of this person. Raises NotFound."""
    found = Conversation.objects.filter(owner=user, pk=as_uuid(conversation_id)).first()
    if found is None:
        raise NotFound()
    return found


def access_answer(user: User, message_id: uuid.UUID | str) -> Message:
    """An answer in a conversation of this person. Raises NotFound."""
    found = (
        Message.objects.filter(conversation__owner=user, role="assistant", pk=as_uuid(message_id))
        .select_related("conversation")
        .first()
    )
    if found is None:
        raise NotFound()
    return found


def access_citation(user: User, message_id: uuid.UUID | str, number: int) -> Citation:
    """Source `number` of an answer, if its reader may still see the document. Raises NotFound."""
    answer = access_answer(user, message_id)
    cited = answer.citations.filter(number=number, version__isnull=False).select_related("version").first()
    if cited is None or cited.version is None:
        raise NotFound("That source is no longer here.")
    cited.version.document = access_document(user, cited.version.document_id)
    return cited


def do_ask(
    *,
    user: User,
    actor: Actor,
    text: str,
    conversation_id: uuid.UUID | str | None = None,
    collection_ids: Sequence[uuid.UUID | str] = (),
    effort: str = "medium",
) -> Asked:
    """Stores a question and the place of its answer. Nothing is searched yet.

    Raises BadRequest, QuestionTooLong, NotFound for a conversation or collection that is not there for this person,
    Conflict (`answer_running`) while the conversation's last answer is still being written.
    """
    text = check_question(text, effort)
    chosen = list(named_collections(user, collection_ids))  # a refusal at a wall is recorded, whatever follows
    with transaction.atomic():
        conversation = (
            access_conversation(user, conversation_id)
            if conversation_id
            else Conversation.objects.create(owner=user, title=_title(text))
        )
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        if conversation.messages.filter(status__in=(MessageStatus.PENDING, MessageStatus.WRITING)).exists():
            raise Conflict(
                "The answer to your last question is still being written.",
                hint="Wait for it or stop it, then send this one.",
                code="answer_running",
            )
        conversation.collections.set(chosen)
        now = timezone.now()
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=now)
        last = conversation.messages.aggregate(last=Max("ordinal"))["last"] or 0
        question = Message.objects.create(conversation=conversation, ordinal=last + 1, role="user", text=text)
        answer = Message.objects.create(
            conversation=conversation,
            ordinal=last + 2,
            role="assistant",
            status=MessageStatus.PENDING,
            effort=effort,
            heartbeat_at=now,
        )
    return Asked(conversation, question, answer)


def do_stop(user: User, answer_id: uuid.UUID | str) -> None:
    """Stops an answer, in this process at once, elsewhere within a second. A finished one stays as it is."""
    answer = access_answer(user, answer_id)
    Message.objects.filter(pk=answer.pk, status__in=(MessageStatus.PENDING, MessageStatus.WRITING)).update(
        status=MessageStatus.STOPPED, finished_at=timezone.now()
    )
    generations.cancel(answer.pk)


def do_open(user: User, actor: Actor, conversation_id: uuid.UUID | str) -> Conversation:
    """A conversation to be read again. What its answers quote is shown once more, so it is recorded once more."""
    conversation = access_conversation(user, conversation_id)
    cited = Citation.objects.filter(message__conversation=conversation, version__isnull=False).order_by()
    places = cited.values_list("version__document_id", "version__n", "page", "start", "end").distinct()
    shown = (Entity("document", str(document), *place) for document, *place in places[:_CITATIONS_RECORDED])
    entities = (Entity("conversation", str(conversation.pk)), *shown)
    record(Event(EventType.ACCESS, "conversation.open", entities=entities), actor=actor)
    return conversation


def do_rename(user: User, conversation_id: uuid.UUID | str, title: str) -> Conversation:
    """Gives a conversation another title."""
    conversation = access_conversation(user, conversation_id)
    title = clean_name(title, limit=200)
    if not title:
        raise BadRequest("A conversation needs a title.")
    conversation.title = title
    conversation.save(update_fields=["title"])
    return conversation


def do_delete_conversation(user: User, actor: Actor, conversation_id: uuid.UUID | str) -> None:
    """Deletes a conversation with its messages. What was shown in it stays in the audit."""
    conversation = access_conversation(user, conversation_id)
    entities = (Entity("conversation", str(conversation.pk)),)
    with transaction.atomic():
        record(Event(EventType.DELETE, "conversation.delete", entities=entities), actor=actor)
        conversation.delete()


def _title(text: str) -> str:
    line = clean_name(text, limit=400)
    if len(line) <= _TITLE_LENGTH:
        return line
    return line[:_TITLE_LENGTH].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"
