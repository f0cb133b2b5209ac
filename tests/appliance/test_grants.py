"""Rules made by hand: over REST and on the page, with a second person for what benefits its maker."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from access_forms import new_person, send, signed_in, words
from appliance_desk import Desk, added, evidence_since, last_event_id, refusal
from django.db import connection
from django.test.utils import CaptureQueriesContext

from appliance.accounts.actions import do_create_group
from appliance.accounts.approvals import to_decide
from appliance.accounts.models import Approval, Role, User
from appliance.documents.models import Grant
from appliance.ops.commands import COMMAND


def _grants(client: httpx.Client, collection: str) -> list[dict[str, Any]]:
    response = client.get(f"/api/v1/collections/{collection}/grants")
    assert response.status_code == 200, response.text
    rules: list[dict[str, Any]] = response.json()
    return rules


def _sees(client: httpx.Client, collection: str) -> bool:
    return collection in {row["id"] for row in client.get("/api/v1/collections").json()}


def test_rules_are_listed_added_and_removed_over_rest(mary: httpx.Client, charlie: httpx.Client, matter: str) -> None:
    address = f"/api/v1/collections/{matter}/grants"
    before = last_event_id()
    made = mary.post(address, json={"user": "charlie", "reason": "joins the matter"})
    assert made.status_code == 201
    assert made.json() == {"id": made.json()["id"], "user": "charlie", "group": None} | {
        "role": "reader",
        "effect": "allow",
    }
    listed = {rule["user"]: rule for rule in _grants(mary, matter)}
    assert listed["mary"]["role"] == "manager"
    assert (listed["charlie"]["reason"], listed["charlie"]["created_by"]) == ("joins the matter", "mary")
    assert _sees(charlie, matter)
    assert mary.delete(f"{address}/{made.json()['id']}").status_code == 204
    assert not _sees(charlie, matter)
    actions = [event["action"] for event in evidence_since(before, type="grant")]
    assert actions == ["grant.add", "grant.remove"]


def test_rules_of_others_are_not_there(mary: httpx.Client, charlie: httpx.Client, matter: str, desk: Desk) -> None:
    rule = _grants(mary, matter)[0]["id"]
    for client in (charlie, desk.client("root"), desk.client("cora")):
        assert refusal(client.get(f"/api/v1/collections/{matter}/grants")) == (404, "not_found")
        assert refusal(client.delete(f"/api/v1/collections/{matter}/grants/{rule}")) == (404, "not_found")
        body = {"user": "root"}
        assert refusal(client.post(f"/api/v1/collections/{matter}/grants", json=body)) == (404, "not_found")
    assert refusal(mary.delete(f"/api/v1/collections/{matter}/grants/{uuid.uuid4()}")) == (404, "not_found")
    assert refusal(mary.delete(f"/api/v1/collections/{matter}/grants/{rule}")) == (409, "last_manager")


def test_a_rule_on_a_document_is_for_it_alone(mary: httpx.Client, charlie: httpx.Client, matter: str) -> None:
    document = added(mary, matter, "one.txt", b"The ossuary is shut.")
    other = added(mary, matter, "two.txt", b"The ossuary is open.")
    made = mary.post(f"/api/v1/documents/{document}/grants", json={"user": "charlie"})
    assert made.status_code == 201, made.text
    assert charlie.get(f"/api/v1/documents/{document}").status_code == 200
    assert charlie.get(f"/api/v1/documents/{other}").status_code == 404
    assert [rule["user"] for rule in mary.get(f"/api/v1/documents/{document}/grants").json()] == ["charlie"]
    assert refusal(charlie.get(f"/api/v1/documents/{document}/grants")) == (404, "not_found")
    assert mary.delete(f"/api/v1/documents/{document}/grants/{made.json()['id']}").status_code == 204
    assert charlie.get(f"/api/v1/documents/{document}").status_code == 404


@pytest.fixture
def in_group(desk: Desk) -> str:
    """A group that mary is in."""
    group = do_create_group(
        f"group-{uuid.uuid4().hex[:8]}", members=(User.objects.get(username="mary"),), actor=COMMAND
    )
    return group.name


@pytest.mark.parametrize("through", ["user", "group"])
def test_what_benefits_its_maker_waits_for_a_second_person(
    desk: Desk, mary: httpx.Client, new_collection: Callable[[], str], in_group: str, through: str
) -> None:
    matter = new_collection()
    body = {through: "mary" if through == "user" else in_group, "role": "contributor"}
    before = last_event_id()
    asked = mary.post(f"/api/v1/collections/{matter}/grants", json=body)
    assert asked.status_code == 202
    approval = asked.json()["approval"]
    assert len(_grants(mary, matter)) == 1
    again = mary.post(f"/api/v1/collections/{matter}/grants", json=body)
    assert again.json()["approval"] == approval

    approver = new_person(desk, Role.CONTENT_APPROVER)
    with signed_in(desk, "mary") as own, signed_in(desk, "root") as root, signed_in(desk, approver) as second:
        refused = send(own, f"/approvals/{approval}", decision="approved")
        assert refused.status_code == 403 and "own_request" in refused.text
        assert send(root, f"/approvals/{approval}", decision="approved").status_code == 404
        assert "Withdraw" in words(own.get("/approvals"))
        assert matter not in second.get("/library").text  # approving shows nothing of the content
        assert "may add documents to collection" in words(second.get("/approvals"))
        assert send(second, f"/approvals/{approval}", decision="approved", reason="agreed").status_code == 303
        late = send(second, f"/approvals/{approval}", decision="refused")
        assert late.status_code == 409 and "already_decided" in late.text
    assert len(_grants(mary, matter)) == 2
    told = [(event["action"], event["outcome"]) for event in evidence_since(before, type="grant")]
    assert told == [
        ("approval.request", "success"),
        ("approval.approve", "refused"),
        ("approval.approve", "refused"),
        ("approval.approve", "success"),
        ("grant.add", "success"),
    ]


def test_who_would_gain_too_cannot_approve(desk: Desk, mary: httpx.Client, matter: str) -> None:
    approver = new_person(desk, Role.CONTENT_APPROVER)
    people = tuple(User.objects.filter(username__in=["mary", approver]))
    group = do_create_group(f"group-{uuid.uuid4().hex[:8]}", members=people, actor=COMMAND)
    asked = mary.post(f"/api/v1/collections/{matter}/grants", json={"group": group.name})
    with signed_in(desk, approver) as second:
        assert "For you to decide Nothing waits" in words(second.get("/approvals")).replace(" Nothing", " Nothing")
        assert send(second, f"/approvals/{asked.json()['approval']}", decision="approved").status_code == 403
    assert Approval.objects.get(pk=asked.json()["approval"]).decision == ""


def test_a_hundred_waiting_requests_cost_no_query_each(desk: Desk, mary: httpx.Client, matter: str) -> None:
    """Every page shows those who decide how many wait."""
    asked = mary.post(f"/api/v1/collections/{matter}/grants", json={"user": "mary", "role": "contributor"})
    first = Approval.objects.get(pk=asked.json()["approval"])
    approver = new_person(desk, Role.CONTENT_APPROVER)

    def cost() -> tuple[int, int]:
        person = User.objects.get(username=approver)
        with CaptureQueriesContext(connection) as queries:
            return len(to_decide(person)), len(queries)

    waiting, few = cost()
    more = [
        Approval(kind=first.kind, change=first.change, summary=first.summary, requested_by=first.requested_by)
        for _ in range(100)
    ]
    Approval.objects.bulk_create(more)
    try:
        assert cost() == (waiting + 100, few)
    finally:
        Approval.objects.filter(pk__in=[approval.pk for approval in [first, *more]]).update(decision="withdrawn")


def test_a_request_is_withdrawn_by_who_made_it(desk: Desk, mary: httpx.Client, matter: str) -> None:
    asked = mary.post(f"/api/v1/collections/{matter}/grants", json={"user": "mary"}).json()["approval"]
    with signed_in(desk, "mary") as own, signed_in(desk, "charlie") as stranger:
        assert send(stranger, f"/approvals/{asked}", decision="withdrawn").status_code == 404
        assert send(own, f"/approvals/{asked}", decision="withdrawn").status_code == 303
        assert send(own, f"/approvals/{asked}", decision="withdrawn").status_code == 409
    assert Approval.objects.get(pk=asked).decision == "withdrawn"


def test_an_approved_rule_of_someone_who_no_longer_manages_is_not_made(
    desk: Desk, mary: httpx.Client, matter: str
) -> None:
    asked = mary.post(f"/api/v1/collections/{matter}/grants", json={"user": "mary"}).json()["approval"]
    Grant.objects.filter(collection=matter).update(role="reader")
    approver = new_person(desk, Role.CONTENT_APPROVER)
    with signed_in(desk, approver) as second:
        refused = send(second, f"/approvals/{asked}", decision="approved")
        assert refused.status_code == 409 and "no_longer_manager" in refused.text
    assert Approval.objects.get(pk=asked).decision == ""
    assert Grant.objects.filter(collection=matter).count() == 1


def test_the_page_adds_previews_and_removes(desk: Desk, mary: httpx.Client, matter: str) -> None:
    added(mary, matter, "ledger.txt", b"The ledger of the mill.")
    page = f"/manage/collections/{matter}/access"
    form = {"kind": "user", "name": "charlie", "role": "reader", "effect": "allow"}
    with signed_in(desk, "mary") as browser:
        shown = send(browser, f"{page}/preview", **form)
        assert shown.status_code == 200
        said = words(shown)
        assert "Nobody loses anything" in said and "1 document : ledger" in said.replace("document:", "document :")
        assert "charlie" not in {rule["user"] for rule in _grants(mary, matter)}  # nothing was saved
        assert send(browser, page, **form).status_code == 303
        assert "Charlie (demo)" in words(browser.get(page))
        wrong = send(browser, page, **form | {"name": "nobody-of-that-name"})
        assert wrong.status_code == 422 and "principal_not_found" in wrong.text
        wrong = send(browser, page, **form | {"ends_at": "2020-01-01T10:00", "starts_at": "2021-01-01T10:00"})
        assert wrong.status_code == 422 and "must end after it starts" in words(wrong)
        lost = send(browser, f"{page}/preview", **form | {"effect": "deny"})
        assert "Nobody gains anything" in words(lost) and "ledger" in words(lost)
        rule = next(rule["id"] for rule in _grants(mary, matter) if rule["user"] == "charlie")
        lost = words(send(browser, f"{page}/{rule}/remove", preview="1"))
        assert "Nobody gains anything" in lost and "Charlie (demo)" in lost and "ledger" in lost
        assert rule in {each["id"] for each in _grants(mary, matter)}  # nothing was removed
        assert send(browser, f"{page}/{rule}/remove").status_code == 303
    with signed_in(desk, "charlie") as stranger:
        assert stranger.get(page).status_code == 404
        assert send(stranger, page, **form).status_code == 404
        assert send(stranger, f"{page}/preview", **form).status_code == 404
        assert stranger.get("/access").status_code == 404


def test_a_session_left_open_changes_no_access(desk: Desk, matter: str) -> None:
    from appliance.accounts.models import Session
    from appliance.accounts.session_store import SessionStore
    from appliance.accounts.sessions import PROVED_AT

    page = f"/manage/collections/{matter}/access"
    form = {"kind": "user", "name": "charlie", "role": "reader", "effect": "allow"}
    with signed_in(desk, "mary") as browser:
        key = browser.cookies["reading_room_session"]
        store = SessionStore(key)
        store[PROVED_AT] = 0
        store.save()
        assert Session.objects.filter(user__username="mary").exists()
        asked = send(browser, page, **form)
        assert asked.status_code == 403 and "password" in words(asked)
        assert browser.get(page).status_code == 200
        assert not Grant.objects.filter(collection=matter, user__username="charlie").exists()
        wrong = send(browser, page, **form, current_password="not it")
        assert not Grant.objects.filter(collection=matter, user__username="charlie").exists(), wrong.status_code
        assert send(browser, page, **form, current_password=desk.room.passwords["mary"]).status_code == 303
        assert Grant.objects.filter(collection=matter, user__username="charlie").exists()


def test_an_administrator_s_mapping_is_previewed_and_what_benefits_them_is_approved(
    desk: Desk, mary: httpx.Client, matter: str
) -> None:
    added(mary, matter, "ledger.txt", b"The ledger of the mill.")
    members = tuple(User.objects.filter(username="charlie"))
    group = do_create_group(f"group-{uuid.uuid4().hex[:8]}", members=members, actor=COMMAND)
    address, form = f"/groups/{group.pk}/collections", {"collection": matter, "role": "reader"}
    approver = new_person(desk, Role.CONTENT_APPROVER)
    with signed_in(desk, "root") as root, signed_in(desk, approver) as second:
        said = words(send(root, address, preview="1", **form))
        assert "Charlie (demo)" in said and "Matter " in said and "ledger" not in said
        assert not Grant.objects.filter(group=group).exists()
        group.members.add(User.objects.get(username="root"))
        send(root, address, **form)
        assert not Grant.objects.filter(group=group).exists()
        waiting = Approval.objects.get(kind="grant.add", change__group=str(group.pk))
        assert send(second, f"/approvals/{waiting.pk}", decision="approved").status_code == 303
        mapped = Grant.objects.get(group=group, collection=matter, role="reader")
        lost = words(send(root, f"{address}/{mapped.pk}/remove", preview="1"))
        assert "Nobody gains anything" in lost and "Charlie (demo)" in lost
        assert Grant.objects.filter(pk=mapped.pk).exists()
    group.delete()
