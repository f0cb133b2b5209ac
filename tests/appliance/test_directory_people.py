"""The pages for people, groups and mapping: who may use them, what they change, and what waits for a second person."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from access_forms import new_person, send, signed_in, words
from appliance_desk import Desk, evidence_since, last_event_id

from appliance.accounts.actions import do_create_group, do_issue_token
from appliance.accounts.models import Approval, Group, Membership, Role, RoleGrant, Source, User
from appliance.documents.models import Collection, Grant
from appliance.ops.commands import COMMAND


@pytest.fixture
def root(desk: Desk) -> Iterator[httpx.Client]:
    """An administrator's browser."""
    with signed_in(desk, "root") as client:
        yield client


@pytest.fixture
def group() -> Iterator[Group]:
    made = do_create_group(f"group {uuid.uuid4()}", actor=COMMAND)
    yield made
    Approval.objects.filter(change__group=str(made.pk)).delete()
    made.delete()


@pytest.mark.parametrize("name", ["alice", "mary", "cora"])
def test_others_find_no_such_pages(desk: Desk, group: Group, name: str) -> None:
    person = User.objects.get(username="bob").pk
    with signed_in(desk, name) as client:
        for address in ("/people", f"/people/{person}", "/groups", f"/groups/{group.pk}"):
            assert client.get(address).status_code == 404, address
        for address in (f"/people/{person}/active", "/people/make", "/groups/make", f"/groups/{group.pk}/roles"):
            assert send(client, address, role="administrator", username="x", name="x").status_code == 404, address
    with desk.anonymous() as nobody:
        assert nobody.get("/people").headers["Location"] == "/sign-in?next=%2Fpeople"


def test_people_are_found_by_a_part_of_their_names(root: httpx.Client) -> None:
    page = words(root.get("/people", params={"q": "ALIC"}))
    assert "alice" in page and "charlie" not in page and "1 person" in page
    assert "Nobody has such a name" in words(root.get("/people", params={"q": "no\x00body<b>"}))
    assert root.get("/people").text.count("<tr>") > 3


def test_a_local_account_is_made_used_switched_off_and_on_again(desk: Desk, root: httpx.Client) -> None:
    name = f"local-{uuid.uuid4().hex[:8]}"
    made = send(root, "/people/make", username=name.upper(), display_name="Emergency")
    password = re.search(r"<code>([^<]+)</code>", made.text)
    assert password is not None
    assert send(root, "/people/make", username=name).status_code == 409
    assert send(root, "/people/make", username="two words").status_code == 400
    desk.room.passwords[name] = password[1]
    person = User.objects.get(username=name)
    _, secret = do_issue_token(name, name="t", days=1, actor=COMMAND)
    headers = {"Authorization": f"Bearer {secret}"}
    with signed_in(desk, name) as theirs:
        assert theirs.get("/library").status_code == 200
        before = last_event_id()
        assert send(root, f"/people/{person.pk}/active", active="no").status_code == 302
        (event,) = [e for e in evidence_since(before) if e["action"] == "user.disable"]
        assert event["detail"] == {"sessions": 1, "tokens": 1}
        assert theirs.get("/library").status_code == 302
        assert send(root, f"/people/{person.pk}/active", active="yes").status_code == 302
        assert theirs.get("/library").status_code == 302
        assert theirs.get("/api/v1/collections", headers=headers).status_code == 401
    with signed_in(desk, name) as again:
        assert again.get("/library").status_code == 200


def test_nobody_switches_off_themselves_and_the_directory_s_people_are_its_own(root: httpx.Client) -> None:
    own = send(root, f"/people/{User.objects.get(username='root').pk}/active", active="no")
    assert (own.status_code, "own_account" in own.text) == (409, True)
    entry = uuid.uuid4()
    theirs = User.objects.create(username=f"d-{entry}", source=Source.DIRECTORY, directory_id=str(entry), dn="cn=d")
    ward = Group.objects.create(name=f"w-{entry}", source=Source.DIRECTORY, directory_id=str(entry), dn="cn=w")
    try:
        for address, form in (
            (f"/people/{theirs.pk}/active", {"active": "no"}),
            (f"/groups/{ward.pk}/members", {"username": "alice"}),
        ):
            refused = send(root, address, **form)
            assert (refused.status_code, "from_the_directory" in refused.text) == (409, True)
        assert "Switch off" not in root.get(f"/people/{theirs.pk}").text
        theirs.refresh_from_db()
        assert theirs.is_active
    finally:
        theirs.delete()
        ward.delete()


def test_a_role_for_oneself_waits_for_a_second_person(desk: Desk, root: httpx.Client) -> None:
    me = User.objects.get(username="root")
    approver = new_person(desk, Role.CONTENT_APPROVER)
    try:
        assert send(root, f"/people/{me.pk}/roles", role=Role.STAFF).status_code == 302
        assert not RoleGrant.objects.filter(user=me, role=Role.STAFF).exists()
        waiting = Approval.objects.get(kind="role.grant", requested_by=me, decision="")
        assert send(root, f"/approvals/{waiting.pk}", decision="approved").status_code in (403, 404)
        assert not RoleGrant.objects.filter(user=me, role=Role.STAFF).exists()
        with signed_in(desk, approver) as second:
            assert send(second, f"/approvals/{waiting.pk}", decision="approved").status_code == 303
        grant = RoleGrant.objects.get(user=me, role=Role.STAFF)
        assert send(root, f"/people/{me.pk}/roles/{grant.pk}/take").status_code == 302
    finally:
        RoleGrant.objects.filter(user=me, role=Role.STAFF).delete()
        Approval.objects.filter(requested_by=me).delete()


def test_an_administrator_does_not_make_a_second_person_of_their_own(desk: Desk, root: httpx.Client) -> None:
    approver, invented = new_person(desk, Role.CONTENT_APPROVER), new_person(desk, Role.STAFF)
    other = User.objects.get(username=invented)
    assert send(root, f"/people/{other.pk}/roles", role=Role.CONTENT_APPROVER).status_code == 302
    assert not RoleGrant.objects.filter(user=other, role=Role.CONTENT_APPROVER).exists()
    waiting = Approval.objects.get(kind="role.grant", change__user=str(other.pk), decision="")
    with signed_in(desk, invented) as themselves:
        assert send(themselves, f"/approvals/{waiting.pk}", decision="approved").status_code in (403, 404)
    with signed_in(desk, approver) as second:
        assert send(second, f"/approvals/{waiting.pk}", decision="approved").status_code == 303
    assert RoleGrant.objects.filter(user=other, role=Role.CONTENT_APPROVER).exists()


def test_a_role_for_others_is_given_at_once_and_the_last_administrator_stays(desk: Desk, root: httpx.Client) -> None:
    other = User.objects.get(username=new_person(desk, Role.STAFF))
    before = last_event_id()
    assert send(root, f"/people/{other.pk}/roles", role=Role.CONTRIBUTOR).status_code == 302
    assert [e["action"] for e in evidence_since(before)] == ["role.give"]
    assert send(root, f"/people/{other.pk}/roles", role="emperor").status_code == 400
    assert send(root, f"/people/{other.pk}/roles", role=Role.CONTRIBUTOR).status_code == 409
    last = RoleGrant.objects.get(user__username="root", role=Role.ADMINISTRATOR)
    refused = send(root, f"/people/{last.user_id}/roles/{last.pk}/take")
    assert (refused.status_code, "last_administrator" in refused.text) == (409, True)
    assert send(root, f"/people/{other.pk}/roles/{last.pk}/take").status_code == 404  # not a role of that person


def test_joining_a_group_waits_for_a_second_person_and_leaving_does_not(
    desk: Desk, root: httpx.Client, group: Group
) -> None:
    approver = new_person(desk, Role.CONTENT_APPROVER)
    assert send(root, f"/groups/{group.pk}/members", username="nobody-at-all").status_code == 400
    assert send(root, f"/groups/{group.pk}/members", username="Charlie").status_code == 302
    assert not Membership.objects.filter(group=group).exists()
    waiting = Approval.objects.get(kind="group.join", change__group=str(group.pk))
    with signed_in(desk, approver) as second:
        assert send(second, f"/approvals/{waiting.pk}", decision="approved").status_code == 303
    charlie = Membership.objects.get(group=group).user
    assert charlie.username == "charlie" and "charlie" in root.get(f"/groups/{group.pk}").text
    assert send(root, f"/groups/{group.pk}/members/{charlie.pk}/leave").status_code == 302
    assert not Membership.objects.filter(group=group).exists()


def test_a_group_is_mapped_to_a_collection_and_an_administrator_opens_none_for_themselves(
    desk: Desk, root: httpx.Client, group: Group, new_collection: Callable[[], str]
) -> None:
    matter = Collection.objects.get(pk=new_collection())
    Membership.objects.create(group=group, user=User.objects.get(username="charlie"))
    address = f"/groups/{group.pk}/collections"
    charlie = desk.client("charlie")
    assert send(root, address, collection=matter.pk, role="reader").status_code == 302
    assert str(matter.pk) in charlie.get("/api/v1/collections").text
    assert matter.name in words(root.get("/groups", params={"q": group.name}))
    assert send(root, address, collection=matter.pk, role="reader").status_code == 409
    assert send(root, address, collection=uuid.uuid4(), role="reader").status_code == 400
    assert send(root, address, collection=matter.pk, role="emperor").status_code == 400
    grant = Grant.objects.get(group=group)
    assert send(root, f"{address}/{grant.pk}/remove").status_code == 302
    assert str(matter.pk) not in charlie.get("/api/v1/collections").text
    Membership.objects.create(group=group, user=User.objects.get(username="root"))
    assert send(root, address, collection=matter.pk, role="reader").status_code == 302
    assert not Grant.objects.filter(group=group).exists()
    assert Approval.objects.filter(kind="grant.add", change__group=str(group.pk), decision="").count() == 1
    assert str(matter.pk) not in desk.client("root").get("/api/v1/collections").text
