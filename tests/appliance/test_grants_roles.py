"""Roles apart: who runs the appliance, and who watches it, reads no document, chat or answer in any way there is."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from access_forms import send, signed_in
from appliance_desk import ANSWER_QUOTE, QUESTION, Desk, refusal, search, until

from appliance.accounts.models import Group, User
from appliance.ops.management.commands.ask import answered
from appliance.ops.management.commands.search import Command as Search

OFFICERS = ("root", "cora")


@pytest.fixture(scope="module")
def hers(desk: Desk, alice: httpx.Client, contracts: str) -> Iterator[dict[str, list[str]]]:
    """Addresses of what alice may read: pages, her conversation and its source, and REST; and what she could send."""
    document = alice.get("/api/v1/documents", params={"collection": contracts}).json()[0]["id"]
    with signed_in(desk, "alice") as browser:
        conversation = send(browser, "/chat/ask", text=QUESTION).headers["Location"]
        until(lambda: "data-finished" in browser.get(conversation).text)
        source = re.findall(r'href="(/chat/answers/[0-9a-f-]+/sources/\d+)"', browser.get(conversation).text)[0]
        answer = source.rsplit("/sources", 1)[0]
        page, rest = f"/documents/{document}", f"/api/v1/documents/{document}"
        pages = [conversation, source, f"{answer}/stream", page, f"{page}/row", f"{page}/v/1", f"{page}/v/1/log"]
        pages += [f"{page}/v/1/pages/1", f"{page}/v/1/download", f"{page}/v/1?q=cleaned", f"/library/{contracts}"]
        managed = [f"{page}/access", f"{page}/access?person=alice", f"/manage/collections/{contracts}/access"]
        managed += [f"/manage/collections/{contracts}/access/as?person=alice"]
        managed += [f"/manage/collections/{contracts}/retrieval?q=cleaned"]
        api = [rest, f"{rest}/versions", f"{rest}/versions/1/log", f"{rest}/versions/1/content"]
        api += [f"{rest}/versions/1/text", f"{rest}/grants", f"/api/v1/collections/{contracts}/grants"]
        api += [f"/api/v1/documents?collection={contracts}"]
        yield {"pages": pages + managed, "rest": api, "document": [document], "collection": [contracts]}


@pytest.mark.parametrize("officer", OFFICERS)
def test_no_page_shows_it(desk: Desk, hers: dict[str, list[str]], officer: str) -> None:
    with ExitStack() as stack:
        browser = stack.enter_context(signed_in(desk, officer))
        for address in hers["pages"]:
            assert browser.get(address).status_code == 404, address
        for address in ("/library", "/library?q=agreement", "/conversations", "/"):
            shown = browser.get(address)
            assert shown.status_code == 200
            assert hers["document"][0] not in shown.text and "Facilities Services" not in shown.text


@pytest.mark.parametrize("officer", OFFICERS)
def test_no_operation_for_programs_returns_it(desk: Desk, hers: dict[str, list[str]], officer: str) -> None:
    client = desk.client(officer)
    for address in hers["rest"]:
        assert client.get(address).status_code == 404, address
    assert client.get("/api/v1/collections").json() == client.get("/api/v1/documents").json() == []
    assert search(client, QUESTION)["results"] == []
    found = client.post("/api/v1/find", json={"query": "cleaned"})
    assert found.status_code == 200 and "cleaned at least" not in found.text
    body = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": []}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.json()["choices"][0]["message"]["annotations"] == []
    assert ANSWER_QUOTE[:40] not in answer.text
    body["collections"] = hers["collection"]
    assert refusal(client.post("/v1/chat/completions", json=body))[0] == 404


@pytest.mark.parametrize("officer", OFFICERS)
def test_no_command_in_their_name_returns_it(desk: Desk, officer: str) -> None:
    found = Search().act(Namespace(username=officer, query=QUESTION, collection=None, k=10))
    assert found["results"] == []
    said = answered(QUESTION, officer)
    assert said["citations"] == [] and said["coverage"]["documents"] == 0


@pytest.mark.parametrize("officer", OFFICERS)
def test_they_cannot_grant_themselves_content(desk: Desk, hers: dict[str, list[str]], officer: str) -> None:
    (collection,), (document,) = hers["collection"], hers["document"]
    client = desk.client(officer)
    for target in (f"/api/v1/collections/{collection}/grants", f"/api/v1/documents/{document}/grants"):
        assert refusal(client.post(target, json={"user": officer})) == (404, "not_found")
    with signed_in(desk, officer) as browser:
        form = {"kind": "user", "name": officer, "role": "reader", "effect": "allow"}
        for target in (f"/manage/collections/{collection}/access", f"/documents/{document}/access"):
            assert send(browser, target, **form).status_code == 404
            assert send(browser, f"{target}/preview", **form).status_code == 404
    assert not User.objects.get(username=officer).grants.exists()
    assert not Group.objects.filter(members__username=officer).exists()
