"""No audit, no answer: while events cannot be written nothing is shown, opened or taken in."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest
from appliance_desk import (
    ANSWER_QUOTE,
    QUESTION,
    Desk,
    Room,
    added,
    as_owner,
    blob_files,
    chats_of,
    finished,
    last_event_id,
    refusal,
    row_counts,
    search,
    until,
    upload,
)

GROUNDED = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": []}


@contextmanager
def audit_refuses(room: Room) -> Iterator[None]:
    """The application's role may not append to the audit."""
    with as_owner(room) as owner:
        owner.execute("REVOKE INSERT ON audit_auditevent FROM reading_room_app, reading_room_worker")
        try:
            yield
        finally:
            owner.execute("GRANT INSERT ON audit_auditevent TO reading_room_app, reading_room_worker")


@pytest.fixture(scope="module")
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """alice, signed in."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


@pytest.fixture
def document(mary: httpx.Client, matter: str) -> dict[str, str]:
    """A document that mary manages and alice reads, with its collection."""
    mary.post(f"/api/v1/collections/{matter}/grants", json={"user": "alice"})
    return {"collection": matter, "id": added(mary, matter, "a.txt", b"The plover calls at dusk.")}


@contextmanager
def nothing_happens(room: Room) -> Iterator[None]:
    """Afterwards no row, file or event is there that was not there before."""
    rows, files, events = row_counts(), blob_files(room), last_event_id()
    yield
    assert (row_counts(), blob_files(room), last_event_id()) == (rows, files, events)


def assert_refused(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "10"
    assert "audit_unavailable" in response.text
    for words in (ANSWER_QUOTE[:30], "plover", "results", "Traceback"):
        assert words not in response.text


@pytest.mark.parametrize("stream", [False, True])
def test_the_gateway_answers_nothing(alice: httpx.Client, django_room: Room, stream: bool) -> None:
    body = GROUNDED | {"stream": stream}
    with nothing_happens(django_room), audit_refuses(django_room):
        refused = alice.post("/v1/chat/completions", json=body)
        assert_refused(refused)
        assert refusal(refused) == (503, "audit_unavailable")
        relayed = {key: value for key, value in body.items() if key != "collections"}
        assert refusal(alice.post("/v1/chat/completions", json=relayed)) == (503, "audit_unavailable")
    answered = alice.post("/v1/chat/completions", json=body)
    assert answered.status_code == 200 and "3.2 Clinical Areas" in answered.text


def test_search_and_downloads_show_nothing(alice: httpx.Client, document: dict[str, str], django_room: Room) -> None:
    version = f"/api/v1/documents/{document['id']}/versions/1"
    requests = [("POST", "/api/v1/search"), ("GET", f"{version}/content"), ("GET", f"{version}/text")]

    def send(method: str, address: str) -> httpx.Response:
        return alice.request(method, address, json={"query": QUESTION} if method == "POST" else None)

    with nothing_happens(django_room), audit_refuses(django_room):
        for method, address in requests:
            assert_refused(send(method, address))
            assert refusal(send(method, address)) == (503, "audit_unavailable")
    assert [send(*request).status_code for request in requests] == [200, 200, 200]


def test_pages_of_documents_do_not_open(browser: httpx.Client, document: dict[str, str], django_room: Room) -> None:
    addresses = [f"/documents/{document['id']}/v/1", f"/documents/{document['id']}/v/1/download"]
    with nothing_happens(django_room), audit_refuses(django_room):
        for address in addresses:
            assert_refused(browser.get(address))
    assert all("plover" in browser.get(address).text for address in addresses)


def test_nobody_signs_in(desk: Desk) -> None:
    from appliance.accounts.models import Session

    def sign_in(client: httpx.Client, password: str) -> httpx.Response:
        fields = {"username": "alice", "password": password, "csrfmiddlewaretoken": client.cookies["reading_room_csrf"]}
        return client.post("/sign-in", data=fields, headers={"Referer": desk.room.url})

    right = desk.room.passwords["alice"]
    with desk.anonymous() as client:
        client.get("/sign-in")
        sessions = set(Session.objects.values_list("pk", flat=True))
        with nothing_happens(desk.room), audit_refuses(desk.room):
            for password in (right, "wrong"):
                refused = sign_in(client, password)
                assert refused.status_code == 503 and "audit_unavailable" in refused.text
                assert "reading_room_session" not in refused.headers.get("Set-Cookie", "")
        assert client.get("/library").status_code == 302
        assert set(Session.objects.values_list("pk", flat=True)) == sessions
        assert sign_in(client, right).status_code == 302
        assert client.get("/library").status_code == 200


def test_nothing_is_taken_in_changed_or_deleted(
    mary: httpx.Client, document: dict[str, str], django_room: Room
) -> None:
    grants = f"/api/v1/collections/{document['collection']}/grants"
    name = f"Matter {uuid.uuid4()}"
    requests = [
        lambda: upload(mary, document["collection"], "b.txt", b"The dunlin follows."),
        lambda: mary.post(grants, json={"user": "bob"}),
        lambda: mary.post("/api/v1/collections", json={"name": name}),
        lambda: mary.delete(f"/api/v1/documents/{document['id']}"),
    ]
    with nothing_happens(django_room), audit_refuses(django_room):
        assert [refusal(send()) for send in requests] == [(503, "audit_unavailable")] * 4
    assert search(mary, "plover", document["collection"])["results"]
    accepted = [send() for send in requests]
    assert [response.status_code for response in accepted] == [202, 201, 201, 204]
    finished(mary, accepted[0].json()["id"])


def test_a_question_on_the_page_is_kept_and_not_answered(browser: httpx.Client, django_room: Room) -> None:
    from appliance.chat.models import Message

    question = f"{QUESTION} {uuid.uuid4().hex}"
    fields = {"text": question, "csrfmiddlewaretoken": browser.cookies["reading_room_csrf"]}
    events = last_event_id()
    with audit_refuses(django_room):
        asked = browser.post("/chat/ask", data=fields, headers={"Referer": str(browser.base_url)})
        assert asked.status_code == 303
        conversation = asked.headers["Location"].rsplit("/", 1)[1]
        with chats_of("alice"):
            until(lambda: Message.objects.filter(conversation=conversation, status="failed").exists())
        shut = browser.get(asked.headers["Location"])  # not even what is there is shown without a record of it
        assert shut.status_code == 503 and "audit_unavailable" in shut.text and question not in shut.text
    assert last_event_id() == events
    page = browser.get(asked.headers["Location"]).text
    assert "audit_unavailable" in page and question in page and ANSWER_QUOTE[:30] not in page
    with chats_of("alice"):
        kept, answer = Message.objects.filter(conversation=conversation).order_by("ordinal")
        assert (kept.text, answer.status, answer.text) == (question, "failed", "")
        assert (answer.error_code, answer.citations.count()) == ("audit_unavailable", 0)

    again = re.findall(r"/chat/answers/[0-9a-f-]+/again", page)[0]
    browser.post(again, data=fields, headers={"Referer": str(browser.base_url)})
    with chats_of("alice"):
        until(lambda: Message.objects.filter(conversation=conversation, status="finished", role="assistant").exists())
