"""What a person may not see is not there, in the same words as what does not exist."""

from __future__ import annotations

import uuid

import pytest
from browser_people import Room, Visit, ask
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_another_person_gets_the_same_page_as_for_nothing(visit: Visit) -> None:
    alice = visit("alice").page
    conversation = ask(alice)
    source = alice.locator("#thread a.cite").first.get_attribute("href")
    answer = str(source).split("/")[3]
    alice.goto(str(source))
    document = str(alice.get_by_role("link", name="Open full document").get_attribute("href"))
    alice.goto(document)
    collection = str(alice.locator(".inspector a[href^='/library/']").get_attribute("href"))
    plain = document.split("?")[0]
    owned = [conversation, source, f"/chat/answers/{answer}/stream", plain, f"{plain}/download", collection]
    owned.append(f"{plain.split('/v/')[0]}/row")
    for address in owned:  # the addresses are right: their owner can open them
        assert alice.request.get(str(address)).ok, address

    charlie = visit("charlie").page
    nothing = charlie.goto(f"/chat/{uuid.uuid4()}")
    assert nothing is not None and nothing.status == 404
    words = charlie.locator("main").inner_text()
    assert "You can’t open this" in words
    for address in owned:
        answered = charlie.request.get(str(address))
        assert answered.status == 404, address
        refused = charlie.goto(str(address))
        assert refused is not None and refused.status == 404
        assert charlie.locator("main").inner_text() == words


def test_pages_for_a_role_are_neither_linked_nor_there_for_others(visit: Visit) -> None:
    def linked(username: str) -> list[str]:
        page = visit(username).page
        links = page.locator("#nav a").all()
        return [str(link.get_attribute("href")) for link in links]

    charlie = visit("charlie").page
    for address in ("/audit", "/status", "/people", "/access"):
        refused = charlie.goto(address)
        assert refused is not None and refused.status == 404
    assert linked("charlie") == ["/", "/library"]
    assert linked("root") == ["/", "/library", "/people", "/status"]
    assert linked("cora") == ["/", "/library", "/access", "/audit", "/status"]


def test_the_audit_shows_who_saw_what_and_never_the_words(visit: Visit) -> None:
    alice = visit("alice").page
    secret = "zyzzyva"
    ask(alice, f"How often must ward areas be cleaned by Halvern, {secret}?")
    sentence = alice.locator("#thread .prose p").first.inner_text()[:40]
    cora = visit("cora")
    page = cora.page
    page.goto("/audit?person=alice&type=disclosure")
    page.locator("#events a.row-title").first.click()
    page.locator("#event .event-title").wait_for()
    expect(page.locator("#event")).to_contain_text("Facilities Services Agreement")
    expect(page.locator("#event")).to_contain_text("Version 1, page")
    assert secret not in page.content() and sentence not in page.content()
    page.goto("/audit?type=review")
    expect(page.locator("#events")).to_contain_text("Audit reviewed")
    cora.assert_quiet()


def test_signing_in_refuses_in_one_way_and_stays_here(visit: Visit, room: Room) -> None:
    page = visit(None).page
    page.goto("/sign-in?next=https://example.com/")
    for username in ("alice", "nobody-of-that-name"):
        page.fill("#username", username)
        page.fill("#password", "wrong")
        with page.expect_response("**/sign-in") as answered:
            page.get_by_role("button", name="Sign in").click()
        assert answered.value.status == 422
        expect(page.get_by_role("alert")).to_contain_text("That user name and password don’t match")
    page.fill("#username", "alice")
    page.fill("#password", room.passwords["alice"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{room.url}/")
    page.get_by_text("Account menu").locator("..").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto("/library")
    page.wait_for_url("**/sign-in?next=%2Flibrary")
