"""Every address of a document, asked for by someone who may not see it, answers as if it did not exist."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from appliance_desk import ANSWER_QUOTE, QUESTION, Desk, search, until

NOTHING = str(uuid.uuid4())


def without_ids(response: httpx.Response) -> tuple[int, str]:
    """Status and body, less ids (the request's own, the one asked for) and CSRF tokens."""
    body = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", response.text)
    body = re.sub(r'("request_id": "|Request )[0-9a-f]{16}', r"\1", body)
    return response.status_code, re.sub(r'(csrfmiddlewaretoken" value=")[^"]+', r"\1", body)


@pytest.fixture(scope="module")
def owned(alice: httpx.Client, contracts: str) -> dict[str, str]:
    """A collection and a document of alice's."""
    document = alice.get("/api/v1/documents", params={"collection": contracts}).json()[0]["id"]
    return {"collection": contracts, "document": document}


REST = [
    ("GET", "/api/v1/documents/{document}"),
    ("DELETE", "/api/v1/documents/{document}"),
    ("GET", "/api/v1/documents/{document}/versions/1/content"),
    ("GET", "/api/v1/documents/{document}/versions/1/text"),
    ("GET", "/api/v1/documents?collection={collection}"),
    ("POST", "/api/v1/collections/{collection}/grants"),
]


@pytest.mark.parametrize(("method", "address"), REST)
def test_rest_answers_a_stranger_as_for_nothing(
    alice: httpx.Client, charlie: httpx.Client, owned: dict[str, str], method: str, address: str
) -> None:
    body = {"user": "charlie"} if method == "POST" else None
    forbidden = charlie.request(method, address.format(**owned), json=body)
    missing = charlie.request(method, address.format(collection=NOTHING, document=NOTHING), json=body)
    assert forbidden.status_code == 404
    assert without_ids(forbidden) == without_ids(missing)
    if method == "GET":
        assert alice.get(address.format(**owned)).status_code == 200


def test_lists_and_searches_of_a_stranger_are_empty(charlie: httpx.Client) -> None:
    assert charlie.get("/api/v1/collections").json() == []
    assert charlie.get("/api/v1/documents").json() == []
    empty = {"collections": 0, "documents": 0, "searched": 0, "not_ready": 0, "reranked": 0, "not_reranked": 0}
    assert search(charlie, QUESTION) == {"results": [], "coverage": empty}


@pytest.mark.parametrize("scope", ["search", "gateway", "stream"])
def test_naming_a_forbidden_collection_is_naming_none(
    charlie: httpx.Client, bob: httpx.Client, owned: dict[str, str], scope: str
) -> None:
    def ask(client: httpx.Client, collection: str) -> httpx.Response:
        if scope == "search":
            return client.post("/api/v1/search", json={"query": QUESTION, "collections": [collection]})
        messages = [{"role": "user", "content": QUESTION}]
        body = {"model": "extractive", "messages": messages, "collections": [collection], "stream": scope == "stream"}
        return client.post("/v1/chat/completions", json=body)

    for client in (charlie, bob):
        forbidden = ask(client, owned["collection"])
        assert forbidden.status_code == 404
        assert forbidden.json()["error"]["code"] == "collection_not_found"
        assert without_ids(forbidden) == without_ids(ask(client, NOTHING))


def test_a_grounded_answer_for_a_stranger_has_no_source(charlie: httpx.Client) -> None:
    body = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": []}
    answered = charlie.post("/v1/chat/completions", json=body)
    assert answered.status_code == 200
    message = answered.json()["choices"][0]["message"]
    assert message["annotations"] == []
    assert message["content"].startswith("The passages found do not answer this question.")
    assert ANSWER_QUOTE[:40] not in answered.text


@pytest.fixture(scope="module")
def pages(desk: Desk, owned: dict[str, str]) -> Iterator[tuple[httpx.Client, httpx.Client, list[str]]]:
    """alice's and charlie's browsers, and addresses of hers: her conversation, its source, a document."""
    with closing(desk.room.browser_session("alice")) as hers, closing(desk.room.browser_session("charlie")) as his:
        form = {"text": QUESTION, "csrfmiddlewaretoken": hers.cookies["reading_room_csrf"]}
        asked = hers.post("/chat/ask", data=form, headers={"Referer": desk.room.url})
        conversation = asked.headers["Location"]
        until(lambda: "data-finished" in hers.get(conversation).text)
        page = hers.get(conversation).text
        source = re.findall(r'href="(/chat/answers/[0-9a-f-]+/sources/\d+)"', page)[0]
        document = f"/documents/{owned['document']}"
        addresses = [conversation, source, source.rsplit("/sources", 1)[0] + "/stream"]
        addresses += [document, f"{document}/row", f"{document}/v/1", f"{document}/v/1/download"]
        addresses.append(f"/library/{owned['collection']}")
        yield hers, his, addresses


def test_pages_answer_a_stranger_as_for_nothing(pages: tuple[httpx.Client, httpx.Client, list[str]]) -> None:
    hers, his, addresses = pages
    for address in addresses:
        assert hers.get(address).status_code in (200, 302), address
        forbidden = his.get(address)
        missing = his.get(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", NOTHING, address))
        assert forbidden.status_code == 404, address
        assert without_ids(forbidden) == without_ids(missing), address


def test_what_a_page_posts_for_another_s_things_finds_nothing(
    pages: tuple[httpx.Client, httpx.Client, list[str]],
) -> None:
    hers, his, addresses = pages
    conversation, source = addresses[0], addresses[1]
    answer = source.rsplit("/sources", 1)[0]
    document = addresses[3]
    form = {"csrfmiddlewaretoken": his.cookies["reading_room_csrf"], "title": "Mine"}
    headers = {"Referer": str(his.base_url)}
    targets = [f"{conversation}/rename", f"{conversation}/delete", f"{answer}/stop", f"{answer}/again"]
    targets += [f"{document}/delete", f"{addresses[-1]}/upload"]
    for target in targets:
        assert his.post(target, data=form, headers=headers).status_code == 404, target
    assert hers.get(conversation).status_code == 200
    assert "Mine" not in hers.get("/conversations").text


def test_a_source_closes_when_its_reader_loses_the_document(
    desk: Desk, pages: tuple[httpx.Client, httpx.Client, list[str]]
) -> None:
    from appliance.accounts.models import User
    from appliance.documents.actions import do_grant
    from appliance.documents.models import Collection
    from appliance.ops.commands import COMMAND

    hers, _, addresses = pages
    conversation, source, wall = addresses[0], addresses[1], Collection.objects.get(name="Contracts")
    alice = User.objects.get(username="alice")
    grant = do_grant(wall, user=alice, effect="deny", acting_user=None, actor=COMMAND)
    try:
        assert hers.get(source).status_code == 404
        assert hers.get(conversation).status_code == 200  # her own words stay hers
    finally:
        grant.delete()
    assert hers.get(source).status_code == 200


@pytest.mark.parametrize("address", ["/", "/library", f"/documents/{NOTHING}", f"/chat/{NOTHING}", "/audit", "/status"])
def test_nobody_signed_in_is_sent_to_sign_in_whatever_the_address(desk: Desk, address: str) -> None:
    with desk.anonymous() as client:
        response = client.get(address)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/sign-in?next=%2F")
