"""Ethical walls: they shut at once, beat every permission, say nothing to whoever is behind them, and fall by two."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest
from access_forms import new_person, send, signed_in, words
from appliance_desk import Desk, added, evidence_since, last_event_id

from appliance.accounts.actions import do_create_group
from appliance.accounts.models import Approval, Role, User
from appliance.documents.models import Grant, Wall
from appliance.ops.commands import COMMAND


@dataclass
class Firm:
    """A matter of mary's, a reader let in by a group, and browsers of those who build and lift walls."""

    matter: str
    document: str
    other: str
    reader: str
    group: str
    client: httpx.Client
    mary: httpx.Client
    cora: httpx.Client

    def build(self, browser: httpx.Client, **form: object) -> Wall:
        name = f"Wall {uuid.uuid4().hex[:8]}"
        given = {"name": name, "reason": "Two sides of one deal", "users": self.reader, "collection": [self.matter]}
        response = send(browser, "/walls", **given | form)
        assert response.status_code == 303, words(response)
        return Wall.objects.get(name=name)

    def sees(self) -> set[str]:
        listed = {row["id"] for row in self.client.get("/api/v1/documents").json()}
        return {name for name, pk in (("document", self.document), ("other", self.other)) if pk in listed}


@pytest.fixture
def firm(desk: Desk, mary: httpx.Client, matter: str) -> Iterator[Firm]:
    reader = new_person(desk, Role.STAFF)
    document = added(mary, matter, "deal.txt", b"The terms of the deal.")
    other = added(mary, matter, "lunch.txt", b"The lunch of the deal.")
    members = tuple(User.objects.filter(username=reader))
    group = do_create_group(f"firm-{uuid.uuid4().hex[:8]}", members=members, actor=COMMAND).name
    assert mary.post(f"/api/v1/collections/{matter}/grants", json={"group": group}).status_code == 201
    with ExitStack() as stack:
        browsers = [stack.enter_context(signed_in(desk, name)) for name in ("mary", "cora")]
        yield Firm(matter, document, other, reader, group, desk.client(reader), *browsers)


@pytest.mark.parametrize("whom", ["person", "group"])
@pytest.mark.parametrize("what", ["collection", "document"])
def test_a_wall_shuts_at_once_and_tells_nobody_behind_it(desk: Desk, firm: Firm, whom: str, what: str) -> None:
    assert firm.sees() == {"document", "other"}
    before = last_event_id()
    missing = firm.client.get(f"/api/v1/documents/{uuid.uuid4()}").json()["error"]
    form = {"users": "", "groups": firm.group} if whom == "group" else {"users": firm.reader}
    if what == "document":
        form |= {"collection": [], "documents": f"http://here/documents/{firm.document}/v/1"}  # type: ignore[dict-item]
    wall = firm.build(firm.mary, **form)
    assert firm.sees() == ({"other"} if what == "document" else set())
    refused = firm.client.get(f"/api/v1/documents/{firm.document}")
    assert refused.status_code == 404
    said = refused.json()["error"]
    assert {key: said[key] for key in ("code", "message", "hint")} == {
        key: missing[key] for key in ("code", "message", "hint")
    }
    events = evidence_since(before, action="wall.refused")
    assert len(events) == 1
    assert events[0]["agent"]["name"] == firm.reader
    assert {(entity["kind"], entity["id"]) for entity in events[0]["entities"]} == {
        ("document", firm.document),
        ("wall", str(wall.pk)),
    }
    page = words(firm.mary.get(f"/walls/{wall.pk}"))
    assert "Refused at it 1 time" in page and "wall.build" in page
    with signed_in(desk, firm.reader) as behind:
        assert behind.get(f"/walls/{wall.pk}").status_code == 404
        assert behind.get("/walls").status_code == 404
        assert wall.name not in behind.get("/library").text


def test_naming_a_walled_collection_in_a_search_or_a_question_is_recorded_as_reaching_for_it(firm: Firm) -> None:
    wall = firm.build(firm.mary)
    named = {"collections": [firm.matter]}
    body = {"model": "extractive", "messages": [{"role": "user", "content": "What is in it?"}]} | named
    for address, sent in (
        ("/api/v1/search", {"query": "anything"} | named),
        ("/api/v1/find", {"query": "anything"} | named),
        ("/v1/chat/completions", body),
    ):
        before = last_event_id()
        assert firm.client.post(address, json=sent).json()["error"]["code"] == "collection_not_found"
        (event,) = evidence_since(before, action="wall.refused")
        assert {(entity["kind"], entity["id"]) for entity in event["entities"]} == {
            ("collection", firm.matter),
            ("wall", str(wall.pk)),
        }


def test_a_refusal_without_a_wall_is_not_put_to_one(firm: Firm, charlie: httpx.Client) -> None:
    firm.build(firm.mary)
    before = last_event_id()
    assert charlie.get(f"/api/v1/documents/{firm.document}").status_code == 404
    assert evidence_since(before, action="wall.refused") == []


def test_a_wall_widens_at_once_and_narrows_by_two(desk: Desk, firm: Firm) -> None:
    wall = firm.build(firm.mary, collection=[], documents=firm.document)
    page = f"/walls/{wall.pk}"
    wider = send(firm.mary, page, users=firm.reader, documents=f"{firm.document}\n{firm.other}")
    assert wider.status_code == 303 and firm.sees() == set()
    assert send(firm.mary, page, users=firm.reader, documents=firm.other).status_code == 303
    assert firm.sees() == set()  # until someone else agrees
    assert "is narrowed" in words(firm.mary.get(page))
    waiting = Approval.objects.get(kind="wall.change", change__wall=str(wall.pk))
    assert send(firm.mary, f"/approvals/{waiting.pk}", decision="approved").status_code == 403
    assert send(firm.cora, f"/approvals/{waiting.pk}", decision="approved").status_code == 303
    assert firm.sees() == {"document"}


def test_a_wall_is_lifted_by_its_owner_with_a_second_person_who_is_not_behind_it(desk: Desk, firm: Firm) -> None:
    behind = new_person(desk, Role.CONTENT_APPROVER)
    wall = firm.build(firm.mary, users=f"{firm.reader}\n{behind}")
    before = last_event_id()
    assert send(firm.cora, f"/walls/{wall.pk}/lift").status_code == 404  # not hers
    assert send(firm.mary, f"/walls/{wall.pk}/lift").status_code == 303
    assert firm.sees() == set()
    waiting = Approval.objects.get(kind="wall.lift", change__wall=str(wall.pk))
    with signed_in(desk, behind) as member:
        assert wall.name not in member.get("/approvals").text
        assert send(member, f"/approvals/{waiting.pk}", decision="approved").status_code == 403
    assert firm.sees() == set()
    assert send(firm.cora, f"/approvals/{waiting.pk}", decision="approved").status_code == 303
    assert firm.sees() == {"document", "other"}
    assert not Grant.objects.filter(wall=wall).exists()
    assert "Lifted" in words(firm.mary.get(f"/walls/{wall.pk}"))
    changed = send(firm.mary, f"/walls/{wall.pk}", users=firm.reader, collection=[firm.matter])
    assert changed.status_code == 409 and "wall_lifted" in changed.text
    actions = [(event["action"], event["outcome"]) for event in evidence_since(before, type="grant")]
    assert ("wall.lift", "refused") in actions and ("wall.lift", "success") in actions


def test_a_wall_s_rule_cannot_be_removed_by_itself(firm: Firm, mary: httpx.Client) -> None:
    wall = firm.build(firm.mary)
    rule = Grant.objects.get(wall=wall)
    refused = mary.delete(f"/api/v1/collections/{firm.matter}/grants/{rule.pk}")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "compiled_grant")
    listed = mary.get(f"/api/v1/collections/{firm.matter}/grants").json()
    assert [row["compiled_from"] for row in listed if row["id"] == str(rule.pk)] == ["wall"]
    assert firm.sees() == set()


def test_a_preview_says_who_loses_what_and_builds_nothing(firm: Firm) -> None:
    form = {"name": "Never built", "reason": "none", "users": firm.reader, "collection": [firm.matter]}
    shown = send(firm.mary, "/walls", preview="1", **form)
    assert shown.status_code == 200
    said = words(shown)
    assert firm.reader in said and "2 documents : deal; lunch" in said.replace("documents:", "documents :")
    assert not Wall.objects.filter(name="Never built").exists()
    assert firm.sees() == {"document", "other"}
    officer = words(send(firm.cora, "/walls", preview="1", **form))
    assert firm.reader in officer and "lunch" not in officer  # names no document she may not read


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"name": ""}, 422, "invalid_request"),
        ({"reason": " "}, 422, "invalid_request"),
        ({"users": ""}, 422, "invalid_request"),
        ({"users": "nobody-of-that-name"}, 422, "principal_not_found"),
        ({"collection": []}, 422, "invalid_request"),
        ({"collection": [str(uuid.uuid4())]}, 404, ""),
        ({"documents": "not an address"}, 404, ""),
    ],
)
def test_a_wall_that_makes_no_sense_is_refused(firm: Firm, form: dict[str, object], status: int, code: str) -> None:
    given = {"name": "No sense", "reason": "none", "users": firm.reader, "collection": [firm.matter]}
    refused = send(firm.mary, "/walls", **given | form)
    assert refused.status_code == status and code in refused.text
    assert not Wall.objects.filter(name="No sense").exists()


def test_managers_wall_only_what_they_manage(desk: Desk, firm: Firm, contracts: str) -> None:
    given = {"name": "Not mine", "reason": "none", "users": firm.reader, "collection": [contracts]}
    assert send(firm.mary, "/walls", **given).status_code == 404
    with signed_in(desk, "charlie") as nobody:
        assert send(nobody, "/walls", **given).status_code == 404
    assert not Wall.objects.filter(name="Not mine").exists()
