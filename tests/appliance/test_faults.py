"""Parts of the appliance die under work: people are told, nothing is lost, and it goes on when the part is back.

Each test puts back what it broke and waits until the appliance reports ready.
"""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest
from appliance_desk import (
    ANSWER_QUOTE,
    QUESTION,
    Desk,
    Room,
    added,
    chats_of,
    evidence_since,
    finished,
    last_event_id,
    refusal,
    search,
    until,
    upload,
)
from django.db import connections

from appliance.audit.orphans import do_close
from appliance.chat import store
from appliance.chat.models import Message
from appliance.documents.models import Chunk, ChunkEmbedding, DocumentVersion, Posting

GROUNDED = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": []}


@contextmanager
def without(room: Room, part: str) -> Iterator[None]:
    """The part is killed, and started again at the end whatever happened."""
    room.stack.kill(part)
    try:
        yield
    finally:
        room.stack.restart(part)
        room.stack.wait_ready(120)
        connections.close_all()


@pytest.fixture
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """alice, signed in."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


def ask(browser: httpx.Client, question: str = QUESTION) -> str:
    """Asks on the page; returns the conversation's address."""
    fields = {"text": question, "csrfmiddlewaretoken": browser.cookies["reading_room_csrf"]}
    asked = browser.post("/chat/ask", data=fields, headers={"Referer": str(browser.base_url)})
    assert asked.status_code == 303, asked.text
    return str(asked.headers["Location"])


def answer_of(conversation: str) -> Message:
    """The last answer of a conversation, once it is finished."""

    def look() -> Message | None:
        answers = Message.objects.filter(conversation=conversation.rsplit("/", 1)[1], role="assistant")
        with chats_of("alice"):
            answer = answers.order_by("-ordinal").first()
        return answer if answer is not None and answer.is_finished else None

    found = until(look)
    assert found is not None
    return found


def status_of(client: httpx.Client, document: str) -> tuple[str, str]:
    """Status of the newest version, and the code of what holds it up."""
    found = client.get(f"/api/v1/documents/{document}").json()
    return found["status"], (found["error"] or {}).get("code", "")


def test_without_the_model_server_questions_are_kept_and_uploads_wait(
    desk: Desk, alice: httpx.Client, mary: httpx.Client, matter: str, browser: httpx.Client
) -> None:
    before = last_event_id()
    with without(desk.room, "inference"):
        refused = alice.post("/v1/chat/completions", json=GROUNDED)
        assert refusal(refused) == (503, "model_unavailable") and refused.headers["Retry-After"] == "10"
        assert refusal(alice.get("/v1/models")) == (503, "model_unavailable")
        assert refusal(alice.post("/api/v1/search", json={"query": QUESTION})) == (503, "model_unavailable")

        question = f"{QUESTION} {uuid.uuid4().hex}"
        conversation = ask(browser, question)
        answer = answer_of(conversation)
        assert (answer.status, answer.error_code, answer.text) == ("failed", "model_unavailable", "")
        page = browser.get(conversation).text
        assert question in page and "model_unavailable" in page and "Your question is kept." in page

        sent = upload(mary, matter, "wait.txt", b"The sandpiper runs along the tideline.")
        assert sent.status_code == 202
        until(lambda: status_of(mary, sent.json()["id"]) == ("queued", "model_unavailable"))
        assert browser.get("/library").status_code == 200
    outcomes = evidence_since(before, type="outcome")
    assert {event["outcome"] for event in outcomes} == {"failed"}
    assert {event["detail"]["code"] for event in outcomes} == {"model_unavailable"}

    found = finished(mary, sent.json()["id"])
    assert (found["status"], found["error"]) == ("ready", None)
    assert search(mary, "sandpiper", matter)["results"]
    again = re.findall(r"/chat/answers/[0-9a-f-]+/again", page)[0]
    fields = {"csrfmiddlewaretoken": browser.cookies["reading_room_csrf"]}
    browser.post(again, data=fields, headers={"Referer": str(browser.base_url)})
    assert answer_of(conversation).status == "finished"


def test_without_the_broker_an_upload_is_taken_in_and_read_later(desk: Desk, mary: httpx.Client, matter: str) -> None:
    with without(desk.room, "redis"):
        sent = upload(mary, matter, "later.txt", b"The turnstone waits for the ebb.")
        assert sent.status_code == 202
        assert status_of(mary, sent.json()["id"]) == ("queued", "")
        assert mary.get("/api/v1/health/ready").json()["parts"]["queue"] == "down"
    assert finished(mary, sent.json()["id"])["status"] == "ready"
    assert search(mary, "turnstone", matter)["results"]


def test_a_version_whose_worker_was_killed_is_read_once_by_another(desk: Desk, mary: httpx.Client, matter: str) -> None:
    lines = (f"Berth {n} holds {n * 7} crates of salt for the curing house on the north quay." for n in range(4_000))
    content = "\n\n".join(lines).encode()
    sent = upload(mary, matter, "ledger.txt", content)
    (version,) = DocumentVersion.objects.filter(document=sent.json()["id"])

    def started() -> bool:
        version.refresh_from_db()
        return version.status == "embedding" and version.chunks_done > 0

    until(started, every_s=0.02)
    desk.room.stack.kill("worker", signal.SIGKILL)
    try:
        version.refresh_from_db()
        assert version.status == "embedding" and version.attempts == 1
        assert not search(mary, "curing house", matter)["results"]  # half a document is never searched
    finally:
        desk.room.stack.restart("worker")
        desk.room.stack.wait_ready(120)
    before = version.attempts
    found = finished(mary, sent.json()["id"], timeout_s=180)
    version.refresh_from_db()
    assert (found["status"], found["current_version"], version.attempts) == ("ready", 1, before + 1)
    chunks = Chunk.objects.filter(version=version)
    ordinals = list(chunks.order_by("ordinal").values_list("ordinal", flat=True))
    assert ordinals == list(range(version.num_chunks)) and version.chunks_done == version.num_chunks
    assert ChunkEmbedding.objects.filter(version=version).count() == version.num_chunks
    assert set(Posting.objects.filter(version=version).values_list("chunk_id", flat=True)) == set(
        chunks.values_list("pk", flat=True)
    )
    ended = evidence_since(0, type="ingest", entities__object_id=sent.json()["id"])
    assert [event["outcome"] for event in ended] == ["success"]


def test_a_version_that_ends_every_worker_is_put_aside(desk: Desk, mary: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "deadly.txt", b"The shrike waits on the thorn.")
    deadly = DocumentVersion.objects.get(document=document)
    DocumentVersion.objects.filter(pk=deadly.pk).update(status="parsing", attempts=3, lease_until="2000-01-01T00:00Z")
    found = finished(mary, document)
    assert (found["status"], found["error"]["code"]) == ("quarantined", "gave_up")
    assert "3 times" in found["error"]["message"] and found["error"]["hint"]
    assert upload(mary, matter, "deadly.txt", b"The shrike has left the thorn.").status_code == 202
    assert finished(mary, document, n=2)["status"] == "ready"


def test_a_database_that_restarts_is_said_so_and_the_next_request_works(
    desk: Desk, alice: httpx.Client, browser: httpx.Client
) -> None:
    connections.close_all()
    with without(desk.room, "postgres"):
        refused = alice.get("/api/v1/collections")
        assert refusal(refused) == (503, "database_unavailable") and refused.headers["Retry-After"] == "10"
        asked = alice.post("/v1/chat/completions", json=GROUNDED)
        assert refusal(asked) == (503, "database_unavailable")
        page = browser.get("/library")
        assert page.status_code == 503 and "database_unavailable" in page.text and "Traceback" not in page.text
    assert alice.get("/api/v1/collections").status_code == 200
    answered = alice.post("/v1/chat/completions", json=GROUNDED)
    assert answered.status_code == 200 and ANSWER_QUOTE in answered.json()["choices"][0]["message"]["content"]
    assert browser.get("/library").status_code == 200


def test_an_answer_in_the_making_survives_a_restart_of_the_database_or_says_so(
    desk: Desk, browser: httpx.Client
) -> None:
    conversation = ask(browser)
    desk.room.stack.restart("postgres")
    connections.close_all()
    desk.room.stack.wait_ready(120)
    answer = answer_of(conversation)
    ends = {("finished", ""), ("failed", "database_unavailable"), ("failed", "audit_unavailable")}
    assert (answer.status, answer.error_code) in ends
    assert QUESTION in browser.get(conversation).text
    assert answer_of(ask(browser)).status == "finished"


def test_an_answer_whose_web_process_was_killed_is_closed_as_interrupted(desk: Desk, browser: httpx.Client) -> None:
    room = desk.room
    room.stack.kill("inference", signal.SIGSTOP)  # the answer hangs, so that the kill comes in the middle of it
    try:
        conversation = ask(browser)
        pk = conversation.rsplit("/", 1)[1]
        with without(room, "web"):
            room.stack.kill("inference", signal.SIGCONT)
    finally:
        room.stack.kill("inference", signal.SIGCONT)
    with chats_of("alice"):
        (answer,) = Message.objects.filter(conversation=pk, role="assistant")
    assert answer.status in ("pending", "writing")
    assert store.close_abandoned() == 0  # its writer was seen a moment ago
    before = last_event_id()
    with chats_of("alice"):
        Message.objects.filter(pk=answer.pk).update(heartbeat_at="2000-01-01T00:00Z")
    until(lambda: store.close_abandoned() or answer_of(conversation))
    closed = answer_of(conversation)
    assert (closed.status, closed.error_code) == ("failed", "interrupted")
    (event,) = evidence_since(before, type="outcome")
    assert (event["outcome"], event["correlation"], event["agent"]["name"]) == ("aborted", str(answer.pk), "system")
    page = browser.get(conversation).text
    assert "interrupted" in page and QUESTION in page
    assert answer_of(ask(browser)).status == "finished"


def test_a_search_that_died_with_its_process_is_recorded_as_cut_off(desk: Desk, alice: httpx.Client) -> None:
    before = last_event_id()
    stack = desk.room.stack
    stack.kill("inference", signal.SIGSTOP)  # the search stands still where it needs the model
    try:
        with ThreadPoolExecutor(1) as pool:
            dying = pool.submit(alice.post, "/api/v1/search", json={"query": "Who cleans the ward?"})
            until(lambda: evidence_since(before, action="search.ask"))
            with without(desk.room, "web"):
                assert isinstance(dying.exception(timeout=60), httpx.HTTPError)
                stack.kill("inference", signal.SIGCONT)
    finally:
        stack.kill("inference", signal.SIGCONT)
    assert evidence_since(before, action="search.finish") == []
    assert do_close() == 0  # it could still be running
    assert do_close(after_s=0) >= 1
    (outcome,) = evidence_since(before, action="search.finish")
    (asked,) = evidence_since(before, action="search.ask")
    assert (outcome["outcome"], outcome["correlation"]) == ("aborted", asked["correlation"])
    assert outcome["entities"] == [{"kind": "event", "id": asked["id"]}]
    assert do_close(after_s=0) == 0
