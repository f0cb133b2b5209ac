"""What the audit keeps of each act, and what it never keeps."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import psycopg
import pytest
import rfc8785
from appliance_desk import (
    ANSWER_QUOTE,
    QUESTION,
    Desk,
    Room,
    added,
    as_owner,
    evidence_since,
    finished,
    last_event_id,
    refusal,
    search,
    until,
    upload,
)

from appliance.audit.models import AuditEntity, AuditEvent
from appliance.audit.record import text_digest


@pytest.fixture
def before(django_room: Room) -> int:
    """The newest event when the test begins."""
    return last_event_id()


@pytest.fixture(scope="module")
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """alice, signed in."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


def form(client: httpx.Client, **fields: str) -> dict[str, str]:
    return {"csrfmiddlewaretoken": client.cookies["reading_room_csrf"]} | fields


def documents_in(event: dict[str, Any]) -> list[tuple[str, int, int, int, int]]:
    keys = ("id", "version", "page", "start", "end")
    return [tuple(entity[key] for key in keys) for entity in event["entities"] if entity["kind"] == "document"]


def steps(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(event["type"], event["action"], event["outcome"]) for event in events]


def test_a_question_through_the_gateway_leaves_intent_disclosure_outcome(
    alice: httpx.Client, contracts: str, before: int
) -> None:
    body = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": [contracts]}
    answered = alice.post("/v1/chat/completions", json=body).json()
    events = evidence_since(before)
    assert steps(events) == [
        ("intent", "answer.ask", "success"),
        ("disclosure", "answer.passages", "success"),
        ("outcome", "answer.finish", "success"),
    ]
    assert {event["correlation"] for event in events} == {str(uuid.UUID(answered["id"].removeprefix("chatcmpl-")))}
    assert {event["agent"]["name"] for event in events} == {"alice"}
    assert events[0]["entities"] == [{"kind": "collection", "id": contracts}]
    assert events[0]["detail"]["chars"] == len(QUESTION)
    annotations = answered["choices"][0]["message"]["annotations"]
    shown = documents_in(events[1])
    assert len(shown) == events[1]["detail"]["passages"] == 8
    for annotation in annotations:  # each citation lies inside a passage that was recorded before it was shown
        place = (annotation["file_id"], annotation["version"], annotation["start"], annotation["end"])
        assert any(
            (place[0], place[1]) == passage[:2] and passage[3] <= place[2] < place[3] <= passage[4] for passage in shown
        )
    assert events[2]["detail"]["citations"] == len(annotations)


def test_a_question_on_the_page_leaves_the_same_with_its_conversation(browser: httpx.Client, before: int) -> None:
    asked = browser.post("/chat/ask", data=form(browser, text=QUESTION), headers={"Referer": str(browser.base_url)})
    conversation = asked.headers["Location"]
    until(lambda: "data-finished" in browser.get(conversation).text)
    recorded = evidence_since(before)
    events = [event for event in recorded if event["action"] != "conversation.open"]
    assert {event["observer"]["place"] for event in events} == {"POST /chat/ask"}
    assert steps(events) == [
        ("intent", "answer.ask", "success"),
        ("disclosure", "answer.passages", "success"),
        ("outcome", "answer.finish", "success"),
    ]
    assert len({event["correlation"] for event in events}) == 1
    for event in events:
        about = {entity["kind"]: entity["id"] for entity in event["entities"]}
        assert about["conversation"] == conversation.rsplit("/", 1)[1]
        assert about["answer"] == event["correlation"]


def test_an_answer_that_is_read_again_is_disclosed_again(browser: httpx.Client, before: int) -> None:
    asked = browser.post("/chat/ask", data=form(browser, text=QUESTION), headers={"Referer": str(browser.base_url)})
    conversation = asked.headers["Location"]
    until(lambda: "data-finished" in browser.get(conversation).text)
    first = next(event for event in evidence_since(before) if event["action"] == "answer.passages")
    again = last_event_id()
    browser.get(conversation)
    (opened,) = evidence_since(again, action="conversation.open")
    assert opened["observer"]["place"] == "GET /chat/<uuid:conversation_id>"
    assert {"kind": "conversation", "id": conversation.split("/")[2].split("#")[0]} in opened["entities"]
    quoted, passages = documents_in(opened), documents_in(first)
    assert quoted
    for document, version, _, start, end in quoted:
        assert any((document, version) == each[:2] and each[3] <= start < end <= each[4] for each in passages)


def test_a_search_discloses_exactly_what_it_returned(alice: httpx.Client, contracts: str, before: int) -> None:
    found = search(alice, QUESTION, contracts, k=3)
    events = evidence_since(before)
    assert steps(events) == [
        ("intent", "search.ask", "success"),
        ("disclosure", "search.passages", "success"),
        ("outcome", "search.finish", "success"),
    ]
    keys = ("document", "version", "page", "start", "end")
    assert documents_in(events[1]) == [tuple(passage[key] for key in keys) for passage in found["results"]]
    assert len({event["correlation"] for event in events}) == 1
    rows = AuditEntity.objects.filter(event__correlation=events[1]["correlation"], event__type="disclosure")
    fields = ("object_id", "version", "page", "start", "end")
    assert list(rows.order_by("pk").values_list(*fields)) == documents_in(events[1])


def test_a_search_that_fails_is_recorded_as_failed(alice: httpx.Client, before: int) -> None:
    body = {"query": QUESTION, "collections": [str(uuid.uuid4())]}
    assert refusal(alice.post("/api/v1/search", json=body)) == (404, "collection_not_found")
    events = evidence_since(before)
    assert steps(events) == [("intent", "search.ask", "success"), ("outcome", "search.finish", "failed")]
    assert events[1]["detail"] == {"code": "collection_not_found"}


def test_signing_in_and_out_and_a_refused_sign_in(desk: Desk, before: int) -> None:
    secret = "hunter2 typed into the name"
    with desk.anonymous() as client:
        client.get("/sign-in")
        headers = {"Referer": desk.room.url}
        client.post("/sign-in", data=form(client, username=secret, password="also secret"), headers=headers)
        password = desk.room.passwords["alice"]
        client.post("/sign-in", data=form(client, username="alice", password=password), headers=headers)
        client.post("/sign-out", data=form(client), headers=headers)
    refused, opened, ended = evidence_since(before)
    assert steps([refused, opened, ended]) == [
        ("sign_in", "session.start", "refused"),
        ("sign_in", "session.start", "success"),
        ("sign_out", "session.end", "success"),
    ]
    assert refused["detail"] == {"name_digest": text_digest(secret)}
    assert (refused["agent"]["name"], refused["agent"]["user"]) == ("", None)
    assert opened["agent"]["name"] == ended["agent"]["name"] == "alice"
    assert opened["agent"]["session"] == ended["agent"]["session"] != ""
    kept = b"".join(bytes(event.canonical) for event in AuditEvent.objects.filter(pk__gt=before))
    for words in (secret, "hunter2", "also secret", password):
        assert words.encode() not in kept


def test_an_upload_its_reading_a_grant_a_download_and_an_opened_page(
    desk: Desk, mary: httpx.Client, matter: str, before: int
) -> None:
    content = b"The cormorant dries its wings on the jetty."
    document = added(mary, matter, "cormorant.txt", content)
    mary.post(f"/api/v1/collections/{matter}/grants", json={"group": "legal", "reason": "Because of a merger."})
    mary.get(f"/api/v1/documents/{document}/versions/1/content")
    mary.get(f"/api/v1/documents/{document}/versions/1/text")
    with closing(desk.room.browser_session("alice")) as browser:
        assert browser.get(f"/documents/{document}/v/1").status_code == 200
        assert browser.get(f"/documents/{document}/v/1/download").content == content
    events = [event for event in evidence_since(before) if event["type"] != "sign_in"]
    assert [(event["action"], event["agent"]["name"]) for event in events] == [
        ("document.upload", "mary"),
        ("document.ingest", "system"),
        ("grant.add", "mary"),
        ("document.download", "mary"),
        ("document.text", "mary"),
        ("document.page", "alice"),
        ("document.download", "alice"),
    ]
    upload_event, page = events[0], events[5]
    assert upload_event["detail"] == {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    assert page["entities"] == [
        {"kind": "document", "id": document, "version": 1, "page": 1, "start": 0, "end": len(content)}
    ]
    kept = b"".join(bytes(event.canonical) for event in AuditEvent.objects.filter(pk__gt=before))
    for words in (b"cormorant", b"merger"):
        assert words not in kept


def test_a_file_that_could_not_be_read_is_recorded_as_failed(mary: httpx.Client, matter: str, before: int) -> None:
    document = upload(mary, matter, "blank.txt", b" \n ").json()["id"]
    finished(mary, document)
    (event,) = evidence_since(before, type="ingest")
    assert (event["outcome"], event["detail"]) == ("failed", {"code": "no_text"})


def test_every_event_is_canonical_hashed_and_free_of_content(django_room: Room, before: int) -> None:
    events = list(AuditEvent.objects.all())
    assert len(events) > 20
    for event in events:
        canonical = bytes(event.canonical)
        assert rfc8785.dumps(json.loads(canonical)) == canonical
        assert bytes(event.leaf_hash) == hashlib.sha256(b"\x00" + canonical).digest()
        evidence = json.loads(canonical)
        columns = (str(event.uid), event.type, event.action, event.outcome, event.actor_name)
        assert columns == (*(evidence[key] for key in ("id", "type", "action", "outcome")), evidence["agent"]["name"])
        for words in (QUESTION, ANSWER_QUOTE, "Clinical Areas", "Halvern"):
            assert words.encode() not in canonical


@pytest.mark.parametrize("table", ["audit_auditevent", "audit_auditentity"])
@pytest.mark.parametrize("act", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_nobody_changes_the_audit(django_room: Room, alice: httpx.Client, table: str, act: str) -> None:
    search(alice, "anything", k=1)
    model = {"audit_auditevent": AuditEvent, "audit_auditentity": AuditEntity}[table]
    before = list(model.objects.values().order_by("pk"))
    assert before
    statement = act.format(table)
    with (
        psycopg.connect(django_room.environment["APPLIANCE_DATABASE_URL"], autocommit=True) as application,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"),
    ):
        application.execute(statement)
    with as_owner(django_room) as owner, pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        owner.execute(statement)
    last = before[-1]["id"]  # the appliance goes on, and may have added to it
    assert list(model.objects.filter(pk__lte=last).values().order_by("pk")) == before


@pytest.mark.parametrize("wrong", ["0", "x" * 300, "Matter of Smith"])
def test_what_is_no_id_is_neither_kept_nor_breaks_the_page_of_the_audit(
    desk: Desk, alice: httpx.Client, wrong: str
) -> None:
    before = last_event_id()
    asked = [
        alice.post("/api/v1/search", json={"query": "cleaning", "collections": [wrong]}),
        alice.post("/api/v1/find", json={"query": "cleaning", "document": wrong}),
        alice.post(
            "/v1/chat/completions",
            json={"model": "extractive", "messages": [{"role": "user", "content": "Hi?"}], "collections": [wrong]},
        ),
    ]
    assert [answer.status_code for answer in asked] == [404, 404, 404]
    assert len(events := evidence_since(before)) == 6 and wrong not in [e["id"] for x in events for e in x["entities"]]
    with closing(desk.room.browser_session("cora")) as cora:
        assert cora.get("/audit").status_code == 200
