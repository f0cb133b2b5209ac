"""API tokens: made on the page and over REST, narrowed, revoked; and what each operation needs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import httpx
import pytest
from appliance_desk import Desk, evidence_since, last_event_id, refusal, search
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from appliance.accounts.actions import do_issue_token
from appliance.accounts.models import ApiToken, Scope
from appliance.api.rest import api
from appliance.api.scopes import NEEDED
from appliance.ops.commands import COMMAND

CSRF = "reading_room_csrf"


@pytest.fixture
def browser(desk: Desk) -> Iterator[httpx.Client]:
    """alice, signed in."""
    with closing(desk.room.browser_session("alice")) as client:
        yield client


def bearer(desk: Desk, secret: str) -> httpx.Client:
    return httpx.Client(
        base_url=desk.room.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60, trust_env=False
    )


def issue(**limits: object) -> str:
    return do_issue_token("alice", name="narrow", days=1, actor=COMMAND, **limits)[1]  # type: ignore[arg-type]


def rest_post(browser: httpx.Client, address: str, body: dict[str, object]) -> httpx.Response:
    return browser.post(address, json=body, headers={"X-CSRFToken": browser.cookies[CSRF]})


def _routes(patterns: list[URLPattern | URLResolver], before: str = "") -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, before + str(pattern.pattern))
        else:
            yield before + str(pattern.pattern)


def test_every_operation_says_which_scope_a_token_needs() -> None:
    """Those that answer anybody are not in the table: the probes and the description of REST itself."""
    declared = set()
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            route = "api/v1" + "/".join(part for part in (prefix.rstrip("/"), path) if part).replace("//", "/")
            route = ("api/v1/" + (prefix + path).strip("/")).replace("{", "<").replace("}", ">")
            declared |= {f"{method} {route}" for operation in view.operations for method in operation.methods}
    declared |= {f"{'GET' if route == 'v1/models' else 'POST'} {route}" for route in _v1_routes()}
    assert set(NEEDED) == declared
    assert all(NEEDED.values())


def _v1_routes() -> set[str]:
    return {route for route in _routes(get_resolver().url_patterns) if route.startswith("v1/")}


def test_a_token_made_on_the_page_is_shown_once_and_kept_as_a_hash(desk: Desk, browser: httpx.Client) -> None:
    fields = {"csrfmiddlewaretoken": browser.cookies[CSRF], "name": "Reports", "days": "7", "scopes": "search"}
    before = last_event_id()
    made = browser.post("/tokens/new", data=fields, headers={"Referer": desk.room.url})
    assert made.status_code == 200
    secret = made.text.partition('<code id="secret">')[2].partition("<")[0]
    assert secret.startswith("rr_") and len(secret) == 46
    listed = browser.get("/tokens").text
    assert "Reports" in listed and secret not in listed
    (event,) = evidence_since(before, action="token.issue")
    assert event["detail"]["scopes"] == ["search"] and secret not in str(event)
    with bearer(desk, secret) as client:
        assert search(client, "cleaning")["results"]
        token = ApiToken.objects.get(prefix=secret[:11])
        assert token.used_at is not None
        revoked = browser.post(
            f"/tokens/{token.pk}/revoke",
            data={"csrfmiddlewaretoken": browser.cookies[CSRF]},
            headers={"Referer": desk.room.url},
        )
        assert revoked.status_code == 302
        before = last_event_id()
        assert refusal(client.get("/api/v1/collections")) == (401, "not_signed_in")
    (event,) = evidence_since(before)
    assert (event["action"], event["outcome"], event["detail"]["cause"]) == ("token.use", "refused", "revoked")


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"days": "0"}, {"days": "367"}, {"days": "x"}, {"scopes": "root"}, {"scopes": []}],
)
def test_a_form_with_a_mistake_makes_no_token(desk: Desk, browser: httpx.Client, change: dict[str, object]) -> None:
    count = ApiToken.objects.count()
    fields = {"csrfmiddlewaretoken": browser.cookies[CSRF], "name": "Reports", "days": "7", "scopes": "search"}
    answer = browser.post("/tokens/new", data=fields | change, headers={"Referer": desk.room.url})
    assert answer.status_code == 422 and "<code id=" not in answer.text
    assert ApiToken.objects.count() == count


def test_a_token_over_rest_is_made_by_a_signed_in_person_only(desk: Desk, browser: httpx.Client) -> None:
    body: dict[str, object] = {"name": "script", "days": 1, "scopes": ["search"]}
    with bearer(desk, issue()) as client:
        assert refusal(client.post("/api/v1/tokens", json=body)) == (403, "reauthentication_needed")
    made = rest_post(browser, "/api/v1/tokens", body)
    assert made.status_code == 201
    secret, row = made.json()["token"], made.json()
    assert (row["scopes"], row["collections"], row["used_at"]) == (["search"], None, None)
    (listed,) = [one for one in browser.get("/api/v1/tokens").json() if one["id"] == row["id"]]
    assert "token" not in listed
    with bearer(desk, secret) as client, closing(desk.room.browser_session("bob")) as bob:
        header = {"X-CSRFToken": bob.cookies[CSRF]}
        assert refusal(bob.delete(f"/api/v1/tokens/{row['id']}", headers=header)) == (404, "not_found")
        assert client.get("/api/v1/collections").status_code == 200
        header = {"X-CSRFToken": browser.cookies[CSRF]}
        assert browser.delete(f"/api/v1/tokens/{row['id']}", headers=header).status_code == 204
        assert client.get("/api/v1/collections").status_code == 401


@pytest.mark.parametrize("scope", list(Scope))
def test_a_token_does_what_it_was_made_for_and_nothing_else(desk: Desk, scope: Scope, contracts: str) -> None:
    calls = {
        Scope.CHAT: ("GET", "/v1/models", None),
        Scope.SEARCH: ("POST", "/api/v1/search", {"query": "cleaning"}),
        Scope.UPLOAD: ("GET", "/api/v1/batches", None),
    }
    with bearer(desk, issue(scopes=[scope])) as client:
        for needed, (method, address, body) in calls.items():
            before = last_event_id()
            answer = client.request(method, address, json=body)
            if needed == scope:
                assert answer.status_code == 200, answer.text
                continue
            assert refusal(answer) == (403, "scope_missing")
            (event,) = evidence_since(before)
            assert (event["action"], event["detail"]["missing"]) == ("token.scope", [str(needed)])
        grant = client.post(f"/api/v1/collections/{contracts}/grants", json={"user": "bob"})
        assert refusal(grant) == (403, "scope_missing")


def test_a_token_made_for_one_collection_opens_no_other(desk: Desk, alice: httpx.Client) -> None:
    everything = {c["name"]: c["id"] for c in alice.get("/api/v1/collections").json()}
    assert {"Contracts", "Policies"} <= set(everything)
    outside = alice.get("/api/v1/documents", params={"collection": everything["Policies"]}).json()[0]["id"]
    with bearer(desk, issue(collections=[uuid.UUID(everything["Contracts"])])) as client:
        assert [c["name"] for c in client.get("/api/v1/collections").json()] == ["Contracts"]
        assert refusal(client.get(f"/api/v1/documents/{outside}")) == (404, "not_found")
        assert {d["collection"] for d in client.get("/api/v1/documents").json()} == {everything["Contracts"]}
        found = search(client, "How long are discharge letters kept?")
        assert found["coverage"]["collections"] == 1
        assert outside not in {passage["document"] for passage in found["results"]}
        asked = {"query": "letters", "collections": [everything["Policies"]]}
        assert client.post("/api/v1/search", json=asked).status_code == 404
        made = client.post("/api/v1/collections", json={"name": "New"})
        assert refusal(made) == (403, "scope_missing")


def test_an_expired_token_is_refused_and_recorded(desk: Desk) -> None:
    secret = issue()
    ApiToken.objects.filter(prefix=secret[:11]).update(expires_at=timezone.now() - timedelta(seconds=1))
    before = last_event_id()
    with bearer(desk, secret) as client:
        assert refusal(client.get("/api/v1/collections")) == (401, "not_signed_in")
    (event,) = evidence_since(before)
    assert event["detail"]["cause"] == "expired"


def test_a_cookie_beside_a_token_adds_nothing_to_it(desk: Desk, browser: httpx.Client) -> None:
    headers = {"Authorization": f"Bearer {issue(scopes=['chat'])}", "X-CSRFToken": browser.cookies[CSRF]}
    body = {"name": "more", "days": 1, "scopes": ["audit"]}
    for _ in range(2):
        assert refusal(browser.post("/api/v1/tokens", json=body, headers=headers)) == (403, "scope_missing")
    assert browser.get("/library").status_code == 200


def test_the_command_makes_narrowed_tokens(desk: Desk) -> None:
    made = desk.room.manage(  # type: ignore[attr-defined]
        *("issue_token", "alice", "--name", "narrow", "--days", "1", "--scopes", "search,chat"),
        *("--collections", "Contracts"),
    )
    assert sorted(made["scopes"]) == ["chat", "search"] and len(made["collections"]) == 1
    for wrong in (["--scopes", "root"], ["--collections", "Clinical"]):
        refused = desk.room.manage(  # type: ignore[attr-defined]
            "issue_token", "alice", "--name", "x", "--days", "1", *wrong, check=False
        )
        assert refused["error"]["code"] in ("scope_unknown", "not_found")
