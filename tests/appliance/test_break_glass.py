"""Emergency access: where it is allowed, told at once, marked throughout, over by itself, closed by a review."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from access_forms import new_person, send, signed_in, words
from appliance_desk import Desk, added, evidence_since, last_event_id, search
from django.test import override_settings
from django.utils import timezone

from appliance.accounts.models import Role, User
from appliance.documents.grants.break_glass import may_break_glass
from appliance.documents.models import BreakGlass, Collection, Grant

CASE = {"reason": "Unconscious, no record at hand", "reference": "P-4711", "minutes": "20"}


@dataclass
class Ward:
    """A collection of mary's with one letter, and a clinician who may not see it."""

    collection: Collection
    document: str
    clinician: str
    browser: httpx.Client
    client: httpx.Client
    mary: httpx.Client
    cora: httpx.Client

    def allow(self, allowed: bool = True) -> None:
        page = f"/manage/collections/{self.collection.pk}/access/break-glass"
        assert send(self.mary, page, allowed="1" if allowed else "0").status_code == 303

    def open(self, **form: Any) -> httpx.Response:
        return send(self.browser, "/break-glass", **{"name": self.collection.name} | CASE | form)

    def sees(self) -> bool:
        return self.client.get(f"/api/v1/documents/{self.document}").status_code == 200

    def broken(self) -> BreakGlass:
        return BreakGlass.objects.get(collection=self.collection)


@pytest.fixture
def ward(desk: Desk, mary: httpx.Client, matter: str) -> Iterator[Ward]:
    document = added(mary, matter, "letter.txt", b"Allergic to penicillin since the harvest of 1987.")
    clinician = new_person(desk, Role.STAFF)
    with ExitStack() as stack:
        own, boss, officer = (stack.enter_context(signed_in(desk, name)) for name in (clinician, "mary", "cora"))
        client = desk.client(clinician)
        yield Ward(Collection.objects.get(pk=matter), document, clinician, own, client, boss, officer)


def test_a_night_from_the_opening_to_the_review(ward: Ward) -> None:
    ward.allow()
    before = last_event_id()
    assert ward.open().status_code == 303
    broken = ward.broken()
    assert ward.sees()
    assert [p["document"] for p in search(ward.client, "penicillin")["results"]] == [ward.document]
    for page in ("/library", "/", "/break-glass/banner"):
        said = words(ward.browser.get(page))
        assert f"Emergency access to {ward.collection.name}" in said and "20 minutes left" in said
    assert ward.browser.get(f"/documents/{ward.document}/v/1").status_code == 200
    alert = words(ward.cora.get("/access"))
    assert f"{ward.clinician} opened {ward.collection.name}" in alert
    page = f"/break-glass/review/{broken.pk}"
    early = send(ward.cora, page, finding="justified", note="It was.")
    assert early.status_code == 409 and "break_glass_open" in early.text

    assert send(ward.browser, f"/break-glass/{broken.pk}/end").status_code == 303
    assert not ward.sees()
    assert "Emergency access to" not in words(ward.browser.get("/library"))
    shown = words(ward.cora.get(page))
    assert "letter" in shown and "P-4711" in shown and "penicillin" not in shown
    assert send(ward.cora, page, finding="justified", note="").status_code == 422
    assert send(ward.cora, page, finding="justified", note="The patient was in danger.").status_code == 303
    assert "Justified" in words(ward.cora.get("/break-glass/review"))
    again = send(ward.cora, page, finding="not_justified", note="Or was it?")
    assert again.status_code == 409 and "already_decided" in again.text

    events = evidence_since(before)
    acts = [event["action"] for event in events if event["action"].startswith("break_glass")]
    assert acts == ["break_glass.open", "break_glass.end", "break_glass.review"]
    of_clinician = [e for e in events if e["agent"]["name"] == ward.clinician]
    marked = [e["action"] for e in of_clinician if e["detail"].get("break_glass") == str(broken.pk)]
    assert marked == ["search.ask", "search.passages", "search.finish", "document.page"]
    assert all("P-4711" not in str(event) for event in events)


def test_it_ends_by_itself(ward: Ward) -> None:
    ward.allow()
    ward.open()
    assert ward.sees()
    past = timezone.now() - timedelta(seconds=1)
    BreakGlass.objects.filter(collection=ward.collection).update(ends_at=past)
    Grant.objects.filter(break_glass__collection=ward.collection).update(ends_at=past)
    assert not ward.sees()
    before = last_event_id()
    search(ward.client, "penicillin")
    assert [e["detail"].get("break_glass") for e in evidence_since(before, action="search.passages")] == [None]


@pytest.mark.parametrize("why", ["unknown", "not allowed", "other case", "denied", "wall of a group"])
def test_what_cannot_be_opened_is_not_known(ward: Ward, why: str) -> None:
    name = ward.collection.name
    ward.allow(why != "not allowed")
    if why in ("unknown", "other case"):
        name = "No such collection" if why == "unknown" else name.upper()
    if why in ("denied", "wall of a group"):
        user = User.objects.get(username=ward.clinician)
        Grant.objects.create(user=user, collection=ward.collection, effect="deny")
    before = last_event_id()
    refused = ward.open(name=name)
    assert refused.status_code == 422
    assert "No collection of this name can be opened this way." in words(refused)
    assert not BreakGlass.objects.filter(collection=ward.collection).exists()
    assert not ward.sees()
    events = evidence_since(before, action="break_glass.open")
    assert [(event["outcome"], sorted(event["detail"])) for event in events] == [("refused", ["name_digest"])]


def test_a_denial_made_meanwhile_beats_it(ward: Ward, mary: httpx.Client) -> None:
    ward.allow()
    ward.open()
    assert ward.sees()
    rule = {"user": ward.clinician, "effect": "deny"}
    assert mary.post(f"/api/v1/collections/{ward.collection.pk}/grants", json=rule).status_code == 201
    assert not ward.sees()


@pytest.mark.parametrize(
    "form", [{"reason": " "}, {"reference": ""}, {"minutes": "0"}, {"minutes": "61"}, {"minutes": "x"}]
)
def test_it_needs_a_reason_a_reference_and_a_time(ward: Ward, form: dict[str, str]) -> None:
    ward.allow()
    refused = ward.open(**form)
    assert refused.status_code == 422 and "invalid_request" in refused.text
    assert not ward.sees()


def test_twice_at_once_is_once(ward: Ward) -> None:
    ward.allow()
    assert ward.open().status_code == 303
    second = ward.open()
    assert second.status_code == 409 and "break_glass_open" in second.text


def test_who_may_open_end_and_review(desk: Desk, ward: Ward) -> None:
    ward.allow()
    both = new_person(desk, Role.STAFF, Role.COMPLIANCE_OFFICER)
    with signed_in(desk, "root") as root, signed_in(desk, both) as officer:
        assert root.get("/break-glass").status_code == 404  # no staff role
        assert send(root, "/break-glass", name=ward.collection.name, **CASE).status_code == 404
        assert send(officer, "/break-glass", name=ward.collection.name, **CASE).status_code == 303
        broken = ward.broken()
        assert send(root, f"/break-glass/{broken.pk}/end").status_code == 404
        assert send(ward.browser, f"/break-glass/{broken.pk}/end").status_code == 404
        assert send(ward.cora, f"/break-glass/{broken.pk}/end").status_code == 303
        page = f"/break-glass/review/{broken.pk}"
        own = send(officer, page, finding="justified", note="I was right.")
        assert own.status_code == 409 and "own_request" in own.text
        for browser in (root, ward.browser, ward.mary):
            assert browser.get(page).status_code == 404
            assert browser.get("/break-glass/review").status_code == 404
    charlie_page = f"/manage/collections/{ward.collection.pk}/access/break-glass"
    assert send(ward.browser, charlie_page, allowed="1").status_code == 404


def test_a_site_that_does_not_allow_it_has_none(desk: Desk, ward: Ward) -> None:
    user = User.objects.get(username=ward.clinician)
    with override_settings(BREAK_GLASS=True):
        assert may_break_glass(user)
    with override_settings(BREAK_GLASS=False):
        assert not may_break_glass(user)
