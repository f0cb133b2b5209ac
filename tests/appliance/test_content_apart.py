"""What was asked and answered lies apart from the events, encrypted, and can be erased without breaking a proof."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from io import StringIO
from typing import Any

import httpx
import psycopg
import pytest
from access_forms import send
from appliance_desk import (
    ANSWER_QUOTE,
    QUESTION,
    Desk,
    Room,
    as_owner,
    chats_of,
    evidence_since,
    last_event_id,
    refusal,
    search,
    until,
)
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from appliance.api import relayed_text
from appliance.audit import content
from appliance.audit.models import AuditEvent, Content, ContentKind, EventType
from appliance.audit.record import SYSTEM, Event
from appliance.audit.tree import leaf_hash, root_of
from appliance.lib.crypto import DecryptionError

CHAT = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}]}


@pytest.fixture
def before(django_room: Room) -> int:
    """The newest event when the test begins."""
    return last_event_id()


@pytest.fixture(scope="module")
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """alice, signed in."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


def of_question(before: int, question: str = QUESTION) -> list[dict[str, Any]]:
    """The events since then of alice's one question, once it has ended. None of them holds it."""

    def look() -> list[dict[str, Any]]:
        asked = [e["correlation"] for e in evidence_since(before) if content.COMMITMENT in e["detail"]]
        events = [e for e in evidence_since(before) if asked and e["correlation"] == asked[0]]
        return events if {"outcome", "access"} & {e["type"] for e in events} else []

    events = until(look)
    held = json.dumps(events)
    for text in (question, ANSWER_QUOTE):
        assert text not in held and hashlib.sha256(text.encode()).hexdigest() not in held
    return events


def kept_texts(events: list[dict[str, Any]]) -> dict[str, str | None]:
    """kind -> text, of one question; what is kept is exactly what its events are committed to."""
    correlation = uuid.UUID(events[0]["correlation"])
    assert content.verify(correlation)
    return {kept.kind: kept.text for kept in content.open_(correlation)}


@pytest.mark.parametrize("stream", [False, True])
def test_a_grounded_answer_of_the_gateway(alice: httpx.Client, contracts: str, before: int, stream: bool) -> None:
    answered = alice.post("/v1/chat/completions", json=CHAT | {"collections": [contracts], "stream": stream})
    assert answered.status_code == 200
    events = of_question(before)
    assert [content.COMMITMENT in event["detail"] for event in events] == [True, False, True]
    texts = kept_texts(events)
    assert texts["question"] == QUESTION
    assert ANSWER_QUOTE in str(texts["answer"])


@pytest.mark.parametrize("stream", [False, True])
def test_a_plain_chat_of_the_gateway(alice: httpx.Client, before: int, stream: bool) -> None:
    turns = [("user", "Earlier"), ("assistant", "Said"), ("user", QUESTION)]
    messages = [{"role": role, "content": text} for role, text in turns]
    answered = alice.post("/v1/chat/completions", json=CHAT | {"messages": messages, "stream": stream})
    texts = kept_texts(of_question(before))
    assert texts["question"] == QUESTION
    if not stream:
        assert texts["answer"] == answered.json()["choices"][0]["message"]["content"]
    assert texts["answer"]


def test_an_answer_on_the_page(browser: httpx.Client, before: int) -> None:
    asked = send(browser, "/chat/ask", text=QUESTION)
    until(lambda: "data-finished" in browser.get(asked.headers["Location"]).text)
    texts = kept_texts(of_question(before))
    assert texts["question"] == QUESTION and ANSWER_QUOTE in str(texts["answer"])


def test_queries_of_search_and_find(alice: httpx.Client, contracts: str, before: int) -> None:
    search(alice, QUESTION, contracts, k=1)
    assert kept_texts(of_question(before)) == {"question": QUESTION}
    before = last_event_id()
    assert alice.post("/api/v1/find", json={"query": "Clinical Areas"}).status_code == 200
    assert kept_texts(of_question(before, "Clinical Areas")) == {"question": "Clinical Areas"}


def test_words_looked_for_in_a_document(browser: httpx.Client, alice: httpx.Client, contracts: str) -> None:
    found = search(alice, QUESTION, contracts, k=1)["results"][0]
    before = last_event_id()
    page = browser.get(f"/documents/{found['document']}/v/{found['version']}", params={"q": "Clinical Areas"})
    assert page.status_code == 200
    assert kept_texts(of_question(before, "Clinical Areas")) == {"question": "Clinical Areas"}


def test_commands_keep_what_was_asked(before: int) -> None:
    told = StringIO()
    call_command("search", QUESTION, username="alice", json=True, stdout=told)
    assert kept_texts(of_question(before)) == {"question": QUESTION}
    before = last_event_id()
    call_command("ask", QUESTION, username="alice", json=True, stdout=told)
    texts = kept_texts(of_question(before))
    assert texts["question"] == QUESTION and ANSWER_QUOTE in str(texts["answer"])


def test_an_answer_that_was_cut_off_is_kept_as_far_as_it_was_written(django_room: Room, before: int) -> None:
    from appliance.accounts.models import User
    from appliance.chat import store
    from appliance.chat.models import Conversation, Message

    with chats_of("alice"), transaction.atomic():
        conversation = Conversation.objects.create(owner=User.objects.get(username="alice"), title="Cut off")
        Message.objects.create(conversation=conversation, ordinal=1, role="user", text="A question")
        silent = timezone.now() - timedelta(hours=1)
        answer = Message.objects.create(
            conversation=conversation,
            ordinal=2,
            role="assistant",
            status="writing",
            text="Half of it",
            heartbeat_at=silent,
        )
    until(lambda: store.close_abandoned() or AuditEvent.objects.filter(correlation=answer.pk).exists())
    (event,) = [e for e in evidence_since(before) if e["correlation"] == str(answer.pk)]
    assert (event["action"], event["outcome"]) == ("answer.finish", "aborted")
    assert kept_texts([event]) == {"answer": "Half of it"}


def test_what_lies_there_is_not_readable_and_is_bound_to_its_question(alice: httpx.Client, before: int) -> None:
    search(alice, QUESTION)
    correlation = uuid.UUID(of_question(before)[0]["correlation"])
    row = Content.objects.get(correlation=correlation)
    assert QUESTION.encode() not in bytes(row.ciphertext or b"")
    salt = bytes(row.salt or b"")
    assert len(salt) == 16
    by_hand = hashlib.sha256(b"\x02" + salt + b"question" + QUESTION.encode()).digest()
    assert bytes(row.commitment) == by_hand
    moved = Content(
        correlation=uuid.uuid4(),
        kind=row.kind,
        commitment=row.commitment,
        salt=row.salt,
        wrapped_key=row.wrapped_key,
        ciphertext=row.ciphertext,
    )
    moved.save(force_insert=True)
    with pytest.raises(DecryptionError):
        content.open_(moved.correlation)
    assert not content.verify(moved.correlation)


def test_without_the_text_there_is_no_event_and_no_answer(
    alice: httpx.Client, contracts: str, django_room: Room, before: int
) -> None:
    with as_owner(django_room) as owner:
        owner.execute("REVOKE INSERT ON audit_content FROM reading_room_app, reading_room_worker")
        try:
            for body in (CHAT, CHAT | {"collections": [contracts]}):
                assert refusal(alice.post("/v1/chat/completions", json=body)) == (503, "audit_unavailable")
            refused = alice.post("/api/v1/search", json={"query": QUESTION})
            assert refusal(refused) == (503, "audit_unavailable")
        finally:
            owner.execute("GRANT INSERT ON audit_content TO reading_room_app, reading_room_worker")
    assert [e for e in evidence_since(before) if e["agent"]["name"] == "alice"] == []
    assert search(alice, QUESTION)["results"]


def test_erasing_leaves_every_proof(alice: httpx.Client, contracts: str, before: int) -> None:
    alice.post("/v1/chat/completions", json=CHAT | {"collections": [contracts]})
    correlation = uuid.UUID(of_question(before)[0]["correlation"])
    newest = last_event_id()

    def root() -> bytes:
        events = AuditEvent.objects.filter(pk__gt=before, pk__lte=newest).order_by("pk")
        hashes = []
        for event in events:
            assert leaf_hash(bytes(event.canonical)) == bytes(event.leaf_hash)
            hashes.append(bytes(event.leaf_hash))
        return root_of(hashes)

    sealed = root()
    assert content.erase(correlation) == 2
    assert root() == sealed
    assert content.erase(correlation) == 0
    assert content.verify(correlation)  # the commitments are still those that the events name
    gone = content.open_(correlation)
    assert [(kept.kind, kept.text) for kept in gone] == [("question", None), ("answer", None)]
    assert all(kept.erased_at is not None for kept in gone)
    left = Content.objects.filter(correlation=correlation).values_list("salt", "wrapped_key", "ciphertext")
    assert list(left) == [(None, None, None)] * 2


def test_a_kept_text_can_be_erased_and_nothing_else(alice: httpx.Client, before: int, django_room: Room) -> None:
    search(alice, QUESTION)
    correlation = of_question(before)[0]["correlation"]
    rows = Content.objects.filter(correlation=correlation)
    changes: list[dict[str, Any]] = [
        {"commitment": b"\x00" * 32},
        {"ciphertext": b"another"},
        {"salt": None, "wrapped_key": None, "ciphertext": None},
    ]
    for change in changes:
        with pytest.raises(DatabaseError), transaction.atomic():
            rows.update(**change)
    content.erase(uuid.UUID(correlation))
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.update(salt=b"\x01" * 16, erased_at=None)
    with pytest.raises(DatabaseError), transaction.atomic():
        rows.delete()
    with as_owner(django_room) as owner, pytest.raises(psycopg.Error, match="append-only"):
        owner.execute("DELETE FROM audit_content")


@pytest.mark.parametrize("person", ["alice", "cora", None])
def test_the_application_adds_texts_and_sees_none(
    alice: httpx.Client, before: int, django_room: Room, person: str | None
) -> None:
    from appliance.accounts.models import User

    search(alice, QUESTION)
    correlation = of_question(before)[0]["correlation"]
    assert Content.objects.filter(correlation=correlation).exists()
    who = User.objects.get(username=person).pk if person else None
    with psycopg.connect(django_room.environment["APPLIANCE_DATABASE_URL"], autocommit=True) as direct:
        with direct.transaction():
            direct.execute("SELECT reading_room_enter(%s, NULL)", [who])
            assert direct.execute("SELECT count(*) FROM audit_content").fetchone() == (0,)
        for statement in ("UPDATE audit_content SET erased_at = now()", "DELETE FROM audit_content"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                direct.execute(statement)


def test_the_first_text_of_a_question_stands(django_room: Room) -> None:
    correlation = uuid.uuid4()
    event = Event(EventType.OUTCOME, "answer.finish", correlation=correlation)
    for text in ("The first", "The second"):
        content.record_with(event, ContentKind.ANSWER, text, actor=SYSTEM)
    assert [kept.text for kept in content.open_(correlation)] == ["The first"]
    assert content.verify(correlation)


@given(text=st.text(), other=st.text(), salt=st.binary(min_size=16, max_size=16))
def test_a_commitment_is_to_one_text_of_one_kind(text: str, other: str, salt: bytes) -> None:
    commitment = content.commitment_of(salt, ContentKind.QUESTION, text)
    assert (content.commitment_of(salt, ContentKind.QUESTION, other) == commitment) == (text == other)
    assert content.commitment_of(salt, ContentKind.ANSWER, text) != commitment
    assert leaf_hash(salt + text.encode(errors="surrogatepass")) != commitment


CALL = {"function": {"name": "look", "arguments": '{"at":"x"}'}}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"input": "Plain"}, "Plain"),
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "Parts"}]}]}, "Parts"),
        ({"input": [{"role": "assistant", "content": "A"}, {"type": "function_call_output", "output": "42"}]}, "42"),
        ({"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Q"}]}, "Be brief\n\nQ"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, ""),
        ({"messages": [{"role": "user", "content": 7}, None, "x"]}, ""),
        ({"messages": {"role": "user"}}, ""),
        ({}, ""),
    ],
)
def test_what_was_asked_through_the_gateway(body: dict[str, Any], text: str) -> None:
    assert relayed_text.asked(body) == text


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"choices": [{"message": {"content": "One"}}, {"message": {"content": "Two"}}]}, "One\n\nTwo"),
        ({"choices": [{"message": {"content": None, "tool_calls": [CALL]}}]}, 'look({"at":"x"})'),
        ({"output": [{"type": "message", "content": [{"type": "output_text", "text": "Said"}]}]}, "Said"),
        ({"output": [{"type": "function_call", "name": "look", "arguments": "{}"}]}, "look({})"),
        ({"error": "none"}, ""),
        ([1], ""),
    ],
)
def test_what_was_answered_through_the_gateway(body: Any, text: str) -> None:
    assert relayed_text.answered(json.dumps(body).encode()) == text


def test_what_was_heard_of_a_stream() -> None:
    heard = relayed_text.Heard()
    pieces: list[Any] = [
        {"choices": [{"delta": {"role": "assistant", "content": "Once "}}]},
        {"choices": [{"delta": {"content": "upon"}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]},
        {"type": "response.output_text.delta", "delta": " a time"},
        {"type": "response.created", "delta": "no"},
        {"choices": [{"delta": None}, 3]},
        [1],
    ]
    for piece in pieces:
        heard.hear(json.dumps(piece))
    heard.hear("[DONE]")
    assert heard.text == "Once upon{} a time"
