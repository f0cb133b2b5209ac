"""Why a person sees a document, or does not: on the command line and for managers."""

from __future__ import annotations

import uuid
from datetime import timedelta

import httpx
import pytest
from access_forms import new_person, signed_in, words
from appliance_desk import Desk, added, evidence_since, last_event_id
from django.utils import timezone

from appliance.accounts.actions import do_create_group
from appliance.accounts.models import Group, Membership, User
from appliance.documents.grants.explain import explain
from appliance.documents.models import Document, Grant
from appliance.ops.commands import COMMAND


@pytest.fixture(scope="module")
def document(mary: httpx.Client) -> Document:
    made = mary.post("/api/v1/collections", json={"name": f"Matter {uuid.uuid4()}"}).json()["id"]
    return Document.objects.get(pk=added(mary, made, "plan.txt", b"The plan of the weir."))


def _allow(document: Document, **grant: object) -> Grant:
    return Grant.objects.create(collection=document.collection, **grant)


def test_each_rule_is_said_in_words_and_the_verdict_is_the_rule_s(desk: Desk, document: Document) -> None:
    person = User.objects.get(username=new_person(desk))
    nothing = explain(person, document)
    assert (nothing.allowed, nothing.rules) == (False, [])
    assert nothing.verdict.endswith("no rule in force allows it.")
    mary = User.objects.get(username="mary")
    group = do_create_group(f"Legal {uuid.uuid4().hex[:6]}", members=(person,), actor=COMMAND)
    _allow(document, group=group, created_by=mary)
    said = explain(person, document)
    assert said.allowed
    name = document.collection.name
    assert said.rules[0].words.startswith(f"group {group.name} may read collection {name}, since ")
    assert said.rules[0].words.endswith("(by mary).")
    late = _allow(document, user=person, effect="deny", starts_at=timezone.now() + timedelta(days=1))
    said = explain(person, document)
    assert said.allowed
    assert [(rule.effect, rule.in_force) for rule in said.rules] == [("allow", True), ("deny", False)]
    late.starts_at = None
    late.save()
    said = explain(person, document)
    assert not said.allowed and said.verdict.endswith("a denial beats every permission.")
    assert [rule.effect for rule in said.rules] == ["deny", "allow"]
    late.delete()
    User.objects.filter(pk=person.pk).update(is_active=False)
    person.refresh_from_db()
    assert explain(person, document).verdict.endswith("their account is switched off.")


def test_the_way_through_nested_groups_is_named(desk: Desk, document: Document) -> None:
    person = User.objects.get(username=new_person(desk))
    mark = uuid.uuid4().hex[:6]
    inner, middle, outer = (Group.objects.create(name=f"{name} {mark}") for name in ("Trainees", "Juniors", "Firm"))
    inner.parents.add(middle)
    middle.parents.add(outer)
    outer.parents.add(inner)  # a cycle, as a directory may hold one
    Membership.objects.create(user=person, group=inner)
    Membership.objects.create(user=person, group=middle, direct=False)
    Membership.objects.create(user=person, group=outer, direct=False)
    _allow(document, group=outer)
    assert (
        f"group Firm {mark} (through Trainees {mark}, in Juniors {mark}) may read"
        in explain(person, document).rules[0].words
    )


def test_the_command_explains_and_is_recorded(desk: Desk, document: Document) -> None:
    from appliance.ops.management.commands.access import Command

    before = last_event_id()
    from argparse import Namespace

    said = Command().act(Namespace(username="mary", document=f"http://host/documents/{document.pk}/v/1"))
    assert said["allowed"] is True and said["title"] == "plan"
    assert "mary may read and change access to collection" in said["rules"][0]["words"]
    events = evidence_since(before, action="access.explain")
    assert [event["agent"]["name"] for event in events] == ["command"]
    refused = desk.room.manage("access", "mary", str(uuid.uuid4()), check=False)  # type: ignore[attr-defined]
    assert refused["error"]["code"] == "document_not_found"


def test_managers_see_the_explanation_and_view_as_a_person(desk: Desk, document: Document) -> None:
    name = new_person(desk)
    before = last_event_id()
    with signed_in(desk, "mary") as browser, signed_in(desk, name) as stranger:
        page = f"/documents/{document.pk}/access?person={name}"
        said = words(browser.get(page))
        assert f"{name} may not see plan: no rule in force allows it." in said
        as_them = f"/manage/collections/{document.collection_id}/access/as?person={name}"
        assert "sees 0 documents" in words(browser.get(as_them))
        grant = _allow(document, user=User.objects.get(username=name))
        assert "sees 1 document" in words(browser.get(as_them))
        assert "plan" in words(browser.get(as_them))
        assert stranger.get(page).status_code == 404
        assert stranger.get(as_them).status_code == 404
        grant.delete()
    actions = [event["action"] for event in evidence_since(before, type="access")]
    assert actions == ["access.explain", *["access.view_as"] * 3]
