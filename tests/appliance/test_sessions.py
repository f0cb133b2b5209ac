"""Signing in and out, and what a session's cookie is worth."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from appliance_desk import Desk, evidence_since, last_event_id, refusal
from django.contrib.sessions.backends.base import UpdateError

from appliance.accounts.models import Session
from appliance.accounts.session_store import SessionStore, end
from appliance.accounts.standing import in_good_standing
from appliance.audit.record import Actor

SESSION, CSRF = "reading_room_session", "reading_room_csrf"


@pytest.fixture
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """alice, signed in."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


def form(client: httpx.Client, **fields: str) -> dict[str, str]:
    return {"csrfmiddlewaretoken": client.cookies[CSRF]} | fields


def sign_in(client: httpx.Client, desk: Desk, **more: str) -> httpx.Response:
    client.get("/sign-in")
    fields = form(client, username="alice", password=desk.room.passwords["alice"], **more)
    return client.post("/sign-in", data=fields, headers={"Referer": desk.room.url})


def assert_signed_out(client: httpx.Client) -> None:
    response = client.get("/library")
    assert (response.status_code, response.headers["Location"]) == (302, "/sign-in?next=%2Flibrary")
    assert refusal(client.get("/api/v1/collections")) == (401, "not_signed_in")


def test_the_cookies_are_for_this_site_s_pages_only(desk: Desk) -> None:
    with desk.anonymous() as client:
        csrf = client.get("/sign-in").headers["Set-Cookie"]
        session = next(c for c in sign_in(client, desk).headers.get_list("Set-Cookie") if c.startswith(SESSION))
    assert "SameSite=Strict" in csrf and "HttpOnly" not in csrf  # scripts of the page send it back
    assert "HttpOnly" in session and "SameSite=Strict" in session and "Path=/" in session
    assert "Domain" not in session and "expires" not in session.lower() and "Max-Age" not in session


def test_signing_in_gives_a_new_key_and_ends_the_old_one(desk: Desk, browser: httpx.Client) -> None:
    first = browser.cookies[SESSION]
    planted = "a" * 32
    with desk.anonymous() as victim:
        victim.cookies.set(SESSION, planted, domain="127.0.0.1")
        sign_in(victim, desk)
        keys = {cookie.value for cookie in victim.cookies.jar if cookie.name == SESSION} - {planted}
    assert len(keys) == 1 and first not in keys
    with closing(desk.room.browser_session("alice")) as again:
        before = again.cookies[SESSION]
        fields = form(again, username="bob", password=desk.room.passwords["bob"])
        assert again.post("/sign-in", data=fields, headers={"Referer": desk.room.url}).status_code == 302
        assert again.cookies[SESSION] != before
        again.cookies.set(SESSION, before, domain="127.0.0.1")
    with desk.anonymous() as thief:
        thief.cookies.set(SESSION, before, domain="127.0.0.1")
        assert_signed_out(thief)


@pytest.mark.parametrize(("mark", "seconds"), [("seen_at", 30 * 60 + 5), ("started_at", 12 * 3600 + 5)])
def test_a_session_ends_when_idle_too_long_or_too_old(browser: httpx.Client, mark: str, seconds: int) -> None:
    stored = SessionStore(browser.cookies[SESSION])
    stored[mark] = time.time() - (seconds - 60)
    stored.save()
    assert browser.get("/library").status_code == 200
    stored = SessionStore(browser.cookies[SESSION])
    stored[mark] = time.time() - seconds
    stored.save()
    before = last_event_id()
    assert_signed_out(browser)
    (event,) = evidence_since(before)
    assert (event["action"], event["agent"]["name"]) == ("session.session_expired", "alice")


def test_a_page_s_own_polling_does_not_keep_a_session_alive(browser: httpx.Client) -> None:
    key = browser.cookies[SESSION]
    stored = SessionStore(key)
    stored["seen_at"] = long_ago = time.time() - 25 * 60
    stored.save()
    assert browser.get("/library", headers={"X-Polling": "1"}).status_code == 200
    assert SessionStore(key)["seen_at"] == long_ago
    assert browser.get("/library").status_code == 200
    assert SessionStore(key)["seen_at"] > long_ago


def test_signing_out_ends_the_session_on_the_appliance(desk: Desk, browser: httpx.Client) -> None:
    key = browser.cookies[SESSION]
    response = browser.post("/sign-out", data=form(browser), headers={"Referer": desk.room.url})
    assert (response.status_code, response.headers["Location"]) == (302, "/sign-in")
    with desk.anonymous() as thief:
        thief.cookies.set(SESSION, key, domain="127.0.0.1")
        assert_signed_out(thief)


@pytest.mark.parametrize("address", ["/sign-out", "/chat/ask", "/theme", "/sign-in"])
def test_a_form_without_its_token_is_refused(browser: httpx.Client, address: str) -> None:
    for fields in ({"text": "What?"}, {"text": "What?", "csrfmiddlewaretoken": "x" * 64}):
        response = browser.post(address, data=fields, headers={"Referer": str(browser.base_url)})
        assert response.status_code == 403
        assert "form_expired" in response.text
    assert browser.get("/library").status_code == 200


def test_a_session_writes_over_rest_only_with_its_token(browser: httpx.Client) -> None:
    body = {"query": "notice period"}
    assert browser.get("/api/v1/collections").status_code == 200
    assert refusal(browser.post("/api/v1/search", json=body)) == (400, "csrf_failed")
    header = {"X-CSRFToken": browser.cookies[CSRF]}
    assert browser.post("/api/v1/search", json=body, headers=header).status_code == 200


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/library?tab=adding", "/library?tab=adding"),
        ("https://example.com/", "/"),
        ("//example.com/", "/"),
        ("/\\example.com/", "/"),
        ("\\/example.com", "/"),
        ("javascript:alert(1)", "/"),
        (" //example.com", "/"),
        ("/%09/example.com", "/%09/example.com"),
        ("/\t/example.com", "/"),
        ("", "/"),
    ],
)
def test_signing_in_leads_only_to_this_appliance(desk: Desk, wanted: str, reached: str) -> None:
    with desk.anonymous() as client:
        assert sign_in(client, desk, next=wanted).headers["Location"] == reached


def test_a_request_for_another_host_is_refused(desk: Desk) -> None:
    with desk.anonymous() as client:
        assert client.get("/sign-in", headers={"Host": "example.com"}).status_code == 400
        assert client.get("/sign-in").status_code == 200


def test_every_page_carries_the_strict_headers(browser: httpx.Client) -> None:
    for address in ("/", "/library", "/sign-in", "/nothing", "/api/v1/collections"):
        headers = browser.get(address).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"].startswith(("no-store", "max-age=0"))
        assert len(headers["X-Request-Id"]) == 16


def test_a_request_id_sent_by_the_caller_is_not_taken_over(browser: httpx.Client) -> None:
    assert browser.get("/library", headers={"X-Request-Id": "f" * 16}).headers["X-Request-Id"] != "f" * 16


def session_of(client: httpx.Client) -> Session:
    return Session.objects.get(pk=client.cookies[SESSION])


def post(client: httpx.Client, address: str, **fields: str) -> httpx.Response:
    return client.post(address, data=form(client, **fields), headers={"Referer": str(client.base_url)})


def test_the_banner_is_read_before_signing_in(desk: Desk, browser: httpx.Client) -> None:
    with desk.anonymous() as client:
        assert "For authorised staff of the trust only." in client.get("/sign-in").text
    assert "For authorised staff of the trust only." not in browser.get("/library").text


def test_a_cookie_that_is_sent_again_after_sign_out_is_refused_and_recorded(desk: Desk, browser: httpx.Client) -> None:
    key, ended = browser.cookies[SESSION], session_of(browser)
    post(browser, "/sign-out")
    before = last_event_id()
    with desk.anonymous() as thief:
        thief.cookies.set(SESSION, key, domain="127.0.0.1")
        assert thief.get("/library").status_code == 302
    (event,) = evidence_since(before)
    assert (event["action"], event["outcome"]) == ("session.replay", "refused")
    assert {entity["id"] for entity in event["entities"]} == {str(ended.user_id), str(ended.id)}
    with desk.anonymous() as guesser:
        guesser.cookies.set(SESSION, "b" * 32, domain="127.0.0.1")
        assert guesser.get("/library").status_code == 302
    assert len(evidence_since(before)) == 1


def test_the_key_of_a_session_is_in_no_record_and_on_no_page(browser: httpx.Client) -> None:
    key, public = browser.cookies[SESSION], str(session_of(browser).id)
    (event, *_) = [e for e in evidence_since(0, action="session.start") if e["agent"]["session"] == public]
    assert key not in str(event)
    assert key not in browser.get("/sessions").text


def test_people_see_their_sessions_and_end_them(desk: Desk, browser: httpx.Client) -> None:
    with closing(desk.room.browser_session("alice")) as other, closing(desk.room.browser_session("bob")) as bob:
        listed = browser.get("/sessions").text
        assert f"/sessions/{session_of(other).id}/end" in listed and str(session_of(bob).id) not in listed
        assert "This one" in listed and f"/sessions/{session_of(browser).id}/end" not in listed
        for address in (f"/sessions/{session_of(bob).id}/end", f"/sessions/{uuid.uuid4()}/end"):
            assert post(browser, address).status_code == 404
        assert bob.get("/library").status_code == 200
        before = last_event_id()
        assert post(browser, f"/sessions/{session_of(other).id}/end").headers["Location"] == "/sessions"
        assert [e["action"] for e in evidence_since(before)] == ["session.revoke"]
        assert_signed_out(other)
        assert browser.get("/library").status_code == 200


def test_signing_out_everywhere_else_leaves_this_session(desk: Desk, browser: httpx.Client) -> None:
    with closing(desk.room.browser_session("alice")) as other:
        assert post(browser, "/sessions/end-others").status_code == 302
        assert_signed_out(other)
    assert browser.get("/library").status_code == 200


def test_a_session_that_was_ended_is_not_brought_back_by_a_request_under_way(browser: httpx.Client) -> None:
    under_way = SessionStore(browser.cookies[SESSION])
    under_way["seen_at"] = time.time()
    end(Session.objects.filter(pk=browser.cookies[SESSION]))
    with pytest.raises(UpdateError):
        under_way.save()
    assert_signed_out(browser)


def test_whoever_asked_in_a_session_stands_as_long_as_it_does(browser: httpx.Client) -> None:
    row = session_of(browser)
    actor = Actor(user_id=row.user_id, name="alice", session=str(row.id))
    assert in_good_standing(actor)
    post(browser, "/sign-out")
    assert not in_good_standing(actor)
    assert not in_good_standing(Actor(user_id=row.user_id, name="alice", session="made up"))


def test_an_administrator_ends_a_person_s_sessions_after_giving_the_password_again(
    desk: Desk, browser: httpx.Client
) -> None:
    person = session_of(browser).user_id
    with closing(desk.room.browser_session("root")) as root, closing(desk.room.browser_session("bob")) as bob:
        address = f"/sessions/of/{person}"
        assert "Firefox" not in root.get(address).text and root.get(address).status_code == 200
        assert bob.get(address).status_code == 404 == post(bob, f"{address}/end").status_code
        stale = SessionStore(root.cookies[SESSION])
        stale["proved_at"] = time.time() - 601
        stale.save()
        asked = post(root, f"{address}/end")
        assert asked.status_code == 403 and 'name="current_password"' in asked.text
        assert browser.get("/library").status_code == 200
        assert post(root, f"{address}/end", current_password="wrong").status_code == 403
        assert browser.get("/library").status_code == 200
        before = last_event_id()
        assert post(root, f"{address}/end", current_password=desk.room.passwords["root"]).status_code == 302
        assert [e["action"] for e in evidence_since(before)] == ["session.reauthenticate", "session.revoke"]
        assert_signed_out(browser)


def test_a_form_keeps_what_was_entered_while_the_password_is_asked_again(desk: Desk, browser: httpx.Client) -> None:
    stale = SessionStore(browser.cookies[SESSION])
    stale["proved_at"] = time.time() - 601
    stale.save()
    fields = {"name": "A <laptop>", "days": "7", "scopes": ["search", "chat"]}
    asked = browser.post("/tokens/new", data=form(browser) | fields, headers={"Referer": desk.room.url})
    assert asked.status_code == 403
    for kept in ("A &lt;laptop&gt;", 'value="search"', 'value="chat"', 'action="/tokens/new"'):
        assert kept in asked.text
    assert asked.text.count('name="csrfmiddlewaretoken"') == 3  # its own, and the menu's two
