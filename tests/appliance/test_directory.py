"""Accounts from a directory: signing in, syncing, and what happens when the directory is down or not to be trusted."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from appliance_desk import Room, evidence_since, last_event_id
from django.db import connections
from django.test import override_settings
from django.utils import timezone

pytest.importorskip("ldap", reason="python-ldap is not installed")

from directory_room import DirectoryRoom, directory_room, forget_directory
from directory_server import PASSWORD, DirectoryServer, crowd, is_installed

from appliance.accounts.actions import do_issue_token
from appliance.accounts.directory.options import ACTIVE_DIRECTORY
from appliance.accounts.directory.sync import SyncRefused
from appliance.accounts.models import ApiToken, DirectoryState, Group, Membership, Session, User
from appliance.lib.errors import AccessEnded, DirectoryUnavailable
from appliance.ops.commands import COMMAND

pytestmark = pytest.mark.skipif(not is_installed(), reason="slapd is not installed")


@pytest.fixture(scope="module")
def place(django_room: Room, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DirectoryRoom]:
    with directory_room(django_room, tmp_path_factory.mktemp("directory")) as found:
        yield found


@pytest.fixture
def server(place: DirectoryRoom) -> Iterator[DirectoryServer]:
    """The directory without people or groups, and an appliance that knows none."""
    import ldap

    forget_directory()
    yield place.server
    with place.server.writing() as connection:
        for base in ("ou=people,dc=hospital,dc=test", "ou=groups,dc=hospital,dc=test"):
            for dn, _ in connection.search_s(base, ldap.SCOPE_ONELEVEL, attrlist=["1.1"]):
                connection.delete_s(dn)
    forget_directory()


def members(group: str) -> dict[str, bool]:
    """Who is in a group here, and whether directly."""
    found = Membership.objects.filter(group__name=group)
    return dict(found.values_list("user__username", "direct"))


# Signing in -------------------------------------------------------------------------------------------------------


def test_a_person_signs_in_with_the_directory_s_password_and_is_in_their_groups_at_once(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    ward = server.add_group("ward", server.add_person("somebody"))
    server.add_group("hospital", ward)
    place.sync()
    server.join(ward, server.add_person("ann"))
    before = last_event_id()
    client, response = place.sign_in("Ann", PASSWORD)
    with closing(client):
        assert response.status_code == 302
        assert client.get("/library").status_code == 200
    assert [event["action"] for event in evidence_since(before)] == ["user.create", "session.start"]
    ann = User.objects.get(username="ann")
    assert (ann.source, ann.has_usable_password()) == ("directory", False)
    assert set(members("ward")) == set(members("hospital")) == {"ann", "somebody"}
    assert place.answer("ann", "wrong").status_code == 422


@pytest.mark.parametrize(
    "name", ["*", "a*", "ann)(uid=*", "ann)(|(uid=*", "ann\\2a", "ann\x00)(uid=*", "(", "ann,ou=people"]
)
def test_a_name_is_never_a_filter(place: DirectoryRoom, server: DirectoryServer, name: str) -> None:
    server.add_person("ann")
    refused = place.answer(name, PASSWORD)
    nobody = place.answer("nobody", PASSWORD)
    assert (refused.status_code, nobody.status_code) == (422, 422)
    assert "That user name and password don’t match." in refused.text
    assert not User.objects.exclude(directory_id=None).exists()


def test_an_empty_password_is_refused_before_the_directory_hears_of_it(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    from appliance.accounts.directory.backend import DirectoryBackend

    server.add_person("ann")
    with server.down(), override_settings(DIRECTORY=server.options()):
        assert place.answer("ann", "").status_code == 422  # not 503: nobody was asked
        assert DirectoryBackend().authenticate(None, "ann", "") is None


def test_a_local_account_signs_in_without_the_directory_and_its_use_is_recorded(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    server.add_person("root")  # a stranger of the same name in the directory gets nowhere
    assert place.answer("root", PASSWORD).status_code == 422
    before = last_event_id()
    with server.down():
        assert place.answer("root", place.room.passwords["root"]).status_code == 302
    (event,) = evidence_since(before)
    assert (event["action"], event["detail"]) == ("session.start", {"local": True})


def test_two_entries_of_one_name_sign_nobody_in_and_are_named_by_the_sync(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    server.add_person("ann", cn="ann one")
    server.add_person("ann", cn="ann two")
    server.add_person("ben")
    assert place.answer("ann", PASSWORD).status_code == 422
    before = last_event_id()
    report = place.sync()
    assert report["people"]["add"] == ["ben"]
    assert [(c["name"], c["code"]) for c in report["conflicts"]] == [("ann", "two_entries_one_name")] * 2
    refused = [event for event in evidence_since(before) if event["action"] == "directory.conflict"]
    assert [event["detail"]["code"] for event in refused] == ["two_entries_one_name"] * 2


# Not to be reached, or not to be trusted --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["down", "frozen"])
def test_without_an_answer_sign_in_says_so_in_under_five_seconds(
    place: DirectoryRoom, server: DirectoryServer, how: str
) -> None:
    server.add_person("ann")
    before = last_event_id()
    with getattr(server, how)():
        started = time.monotonic()
        response = place.answer("ann", PASSWORD)
        assert time.monotonic() - started < 5
    assert response.status_code == 503
    assert "The staff directory is not answering" in response.text and "directory_unavailable" in response.text
    assert "don’t match" not in response.text
    (event,) = evidence_since(before)
    assert (event["outcome"], event["detail"]["code"]) == ("refused", "directory_unavailable")


@pytest.mark.parametrize("starttls", [False, True], ids=["ldaps", "starttls"])
@pytest.mark.parametrize(
    ("wrong", "words"), [("expired", "has expired"), ("stranger", "is not signed by the CA"), ("name", "another name")]
)
def test_a_certificate_that_is_not_right_is_no_directory(
    server: DirectoryServer, tmp_path: Path, starttls: bool, wrong: str, words: str
) -> None:
    from appliance.accounts.directory.backend import DirectoryBackend
    from appliance.ops import health

    server.add_person("ann")
    options = server.options(starttls=starttls)
    if wrong == "stranger":
        stranger = tmp_path / "stranger"
        stranger.mkdir()
        options = replace(options, ca_file=DirectoryServer(stranger).ca_file)
    else:
        server.stop()
        server.certify(**({"days": -3} if wrong == "expired" else {"address": "127.0.0.9"}))  # type: ignore[arg-type]
        server.start()
    try:
        with override_settings(DIRECTORY=options):
            with pytest.raises(DirectoryUnavailable) as refused:
                DirectoryBackend().authenticate(None, "ann", PASSWORD)
            part = health._directory()
        assert refused.value.http_status == 503
        assert (part["status"], words in part["detail"]) == ("down", True), part
    finally:
        server.stop()
        server.certify()
        server.start()


def test_starttls_signs_in_and_a_server_without_it_is_refused(server: DirectoryServer) -> None:
    from appliance.accounts.directory.backend import DirectoryBackend

    server.add_person("ann")
    with override_settings(DIRECTORY=server.options(starttls=True)):
        assert str(DirectoryBackend().authenticate(None, "ann", PASSWORD)) == "ann"
    plain = server.folder / "slapd.conf"
    kept = plain.read_text()
    server.stop()
    plain.write_text("".join(line for line in kept.splitlines(True) if not line.startswith(("TLS", "security"))))
    try:
        server.start_plain()
        with override_settings(DIRECTORY=server.options(starttls=True)), pytest.raises(DirectoryUnavailable):
            DirectoryBackend().authenticate(None, "ann", PASSWORD)
    finally:
        server.stop()
        plain.write_text(kept)
        server.start()


def test_sessions_outlive_the_directory_for_a_while_and_then_say_why(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    server.add_person("ann")
    client, _ = place.sign_in("ann", PASSWORD)
    headers = {"Authorization": f"Bearer {do_issue_token('ann', name='t', days=1, actor=COMMAND)[1]}"}
    with closing(client), closing(httpx.Client(base_url=place.url, headers=headers, trust_env=False)) as program:
        server.stop()
        assert client.get("/library").status_code == 200
        assert program.get("/api/v1/collections").status_code == 200
        DirectoryState.objects.update(reached_at=timezone.now() - timezone.timedelta(seconds=601))
        before = last_event_id()
        ended = client.get("/library")
        assert ended.status_code == 503
        assert "directory_silent" in ended.text and "you were signed out" in ended.text
        assert client.get("/library").headers["Location"].startswith("/sign-in")
        assert program.get("/api/v1/collections").status_code == 401
        server.start()
        # An answer is enough, even one that the password is wrong.
        assert place.answer("ann", "wrong").status_code == 422
        assert program.get("/api/v1/collections").status_code == 200
    done = [event["action"] for event in evidence_since(before)]
    assert done == ["session.directory_silent", "token.use", "session.start"]


# Sync -------------------------------------------------------------------------------------------------------------


def test_a_rename_keeps_the_account_and_names_may_be_exchanged(place: DirectoryRoom, server: DirectoryServer) -> None:
    ann, ben = server.add_person("ann", cn="one"), server.add_person("ben", cn="two")
    place.sync()
    accounts = {user.username: user.pk for user in User.objects.filter(username__in=["ann", "ben"])}
    server.rename(ann, uid="ben")
    server.rename(ben, uid="ann", title="Matron")
    report = place.sync()
    assert sorted(map(list, report["people"]["rename"])) == [["ann", "ben"], ["ben", "ann"]]
    assert User.objects.get(username="ben").pk == accounts["ann"]
    assert (User.objects.get(username="ann").pk, User.objects.get(username="ann").title) == (accounts["ben"], "Matron")
    assert place.sync()["counts"] == dict.fromkeys(report["counts"], 0)


def test_a_leaver_s_name_passes_to_a_newcomer_without_the_leaver_s_rights(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    old = server.add_person("ann", cn="one")
    server.add_group("ward", old)
    place.sync()
    leaver = User.objects.get(username="ann")
    server.remove(old)
    server.add_person("ann", cn="two")
    place.sync(force=True)
    leaver.refresh_from_db()
    newcomer = User.objects.get(username="ann")
    assert newcomer.pk != leaver.pk and not leaver.is_active and leaver.username.startswith("ann~")
    assert members("ward") == {}


def test_who_is_switched_off_loses_session_token_and_running_answer_within_five_seconds(
    place: DirectoryRoom, server: DirectoryServer
) -> None:
    from appliance.accounts.standing import in_good_standing
    from appliance.audit.record import Actor
    from appliance.chat.watching import while_allowed

    dn = server.add_person("ann")
    server.add_person("ben")
    place.sync()
    ann = User.objects.get(username="ann")
    token, secret = do_issue_token("ann", name="t", days=1, actor=COMMAND)
    client, _ = place.sign_in("ann", PASSWORD)
    headers = {"Authorization": f"Bearer {secret}"}
    with closing(client):
        assert client.get("/library").status_code == 200
        session = Session.objects.get(user=ann)

        def alone(act: Callable[[], Any]) -> Any:
            """In a thread of its own, whose connection nobody else would close."""
            try:
                return act()
            finally:
                connections.close_all()

        async def words() -> AsyncIterator[int]:
            for n in range(1000):
                yield n
                await asyncio.sleep(0.05)

        async def stream() -> float:
            actor = Actor(user_id=ann.pk, name="ann", session=str(session.id))
            ended = 0.0
            with pytest.raises(AccessEnded):
                async for n in while_allowed(words(), lambda: alone(lambda: in_good_standing(actor))):
                    if n == 5:
                        await asyncio.to_thread(alone, leave)
                        ended = time.monotonic()
            return time.monotonic() - ended

        def leave() -> None:
            server.remove(dn)
            place.sync()

        with override_settings(DIRECTORY=server.options()):
            assert asyncio.run(stream()) < 5
        assert client.get("/library").headers["Location"].startswith("/sign-in")
        assert client.get("/api/v1/collections", headers=headers).status_code == 401
        token.refresh_from_db()
        assert token.revoked_at is not None
        # Coming back revives neither.
        server.add_person("ann")
        User.objects.filter(pk=ann.pk).update(is_active=True)
        assert client.get("/library").headers["Location"].startswith("/sign-in")
    assert ApiToken.objects.filter(user=ann, revoked_at=None).count() == 0


def test_groups_in_groups_are_flattened_and_a_cycle_ends(place: DirectoryRoom, server: DirectoryServer) -> None:
    ann, ben = server.add_person("ann"), server.add_person("ben")
    inner = server.add_group("inner", ann)
    middle = server.add_group("middle", inner, ben)
    outer = server.add_group("outer", middle)
    server.join(inner, outer)  # a cycle of three
    report = place.sync()
    assert report["cycles"] == ["inner", "middle", "outer"]
    assert members("inner") == {"ann": True, "ben": False}
    assert members("middle") == {"ann": False, "ben": True}
    assert members("outer") == {"ann": False, "ben": False}
    assert {g.name for g in Group.objects.get(name="inner").parents.all()} == {"middle"}
    server.leave(middle, inner)
    assert place.sync()["memberships"] != []
    assert members("middle") == {"ben": True}
    assert members("inner") == {"ann": True, "ben": False}


def test_a_group_of_twenty_thousand(place: DirectoryRoom, server: DirectoryServer) -> None:
    server.stop()
    server.load(*crowd(20_000, "everyone"))
    server.start()
    try:
        assert place.sync()["counts"]["memberships_added"] == 20_000
        assert Membership.objects.filter(group__name="everyone", direct=True).count() == 20_000
        assert place.sync()["counts"]["memberships_added"] == 0
        assert place.answer("crowd19999", PASSWORD).status_code == 302
    finally:
        server.stop()
        server.empty()
        server.start()


def test_a_dry_run_prints_the_difference_and_changes_nothing(place: DirectoryRoom, server: DirectoryServer) -> None:
    server.add_group("ward", server.add_person("ann"))
    before = last_event_id()
    report = place.sync(dry_run=True)
    assert (report["people"]["add"], report["groups"]["add"]) == (["ann"], ["ward"])
    assert report["memberships"] == [{"group": "ward", "join": ["ann"], "leave": []}]
    assert (report["dry_run"], report["applied"]) == (True, False)
    assert not User.objects.filter(username="ann").exists() and evidence_since(before) == []


def test_a_filter_that_shows_too_few_locks_nobody_out(place: DirectoryRoom, server: DirectoryServer) -> None:
    people = [server.add_person(f"person{n}") for n in range(12)]
    server.add_group("ward", *people)
    place.sync()
    broken = {"user_filter": "(&(objectClass=inetOrgPerson)(uid=person1))"}
    before = last_event_id()
    assert "11 of 12 people" in place.sync(options=broken, dry_run=True)["refused"]
    with pytest.raises(SyncRefused):
        place.sync(options=broken)
    assert User.objects.filter(source="directory", is_active=True).count() == 12
    (event,) = evidence_since(before)
    assert (event["action"], event["outcome"], event["detail"]["people_disabled"]) == ("directory.sync", "refused", 11)
    with pytest.raises(SyncRefused):
        place.sync(options={"group_filter": "(objectClass=nothing)"})
    assert len(members("ward")) == 12
    place.sync(force=True, options=broken)
    assert User.objects.filter(source="directory", is_active=True).count() == 1


def test_names_of_local_accounts_are_left_alone(place: DirectoryRoom, server: DirectoryServer) -> None:
    server.add_group("legal", server.add_person("cora"), server.add_person("ann"))
    root = User.objects.get(username="cora")
    report = place.sync()
    codes = {(c["kind"], c["name"]): c["code"] for c in report["conflicts"]}
    assert codes == {("person", "cora"): "name_of_a_local_account", ("group", "legal"): "name_of_a_local_account"}
    root.refresh_from_db()
    assert (root.source, root.directory_id) == ("local", None)


def test_a_long_group_of_active_directory_comes_in_pieces() -> None:
    from appliance.accounts.directory.entries import member_range

    assert member_range({"cn": [b"g"], "member;range=0-1499": [b"a", b"b"], "member": []}, "member") == (
        [b"a", b"b"],
        1500,
    )
    assert member_range({"member;range=1500-*": [b"c"]}, "member") == ([b"c"], None)
    assert member_range({"member": [b"a"]}, "member") == ([b"a"], None)
    assert member_range({}, "member") == ([], None)


def test_doctor_says_what_the_last_sync_left_or_would_not_do(place: DirectoryRoom, server: DirectoryServer) -> None:
    from appliance.ops import health

    people = [server.add_person(f"person{n}") for n in range(7)]
    server.add_person("cora")
    place.sync()
    with override_settings(DIRECTORY=server.options()):
        assert "Entries left alone: 1" in health._directory()["detail"]
        server.remove(*people[1:])
        with pytest.raises(SyncRefused):
            place.sync()
        assert place.answer("person0", PASSWORD).status_code == 302  # an answer clears nothing
        assert "changed nothing: 6 of 7 people would be switched off" in health._directory()["detail"]
    with override_settings(DIRECTORY=None):
        assert health._directory()["status"] == "off"


def test_active_directory_s_attributes(place: DirectoryRoom, server: DirectoryServer) -> None:
    from appliance.accounts.directory.backend import DirectoryBackend

    guid, off = uuid.uuid4(), uuid.uuid4()
    ad: dict[str, Any] = {"schema": ACTIVE_DIRECTORY, "user_filter": "(objectCategory=person)"}
    ann = server.add_ad_person("Ann.Lee", guid=guid)
    gone = server.add_ad_person("gone", guid=off, control=514)
    server.add_ad_group("Ward 7", ann, gone, guid=uuid.uuid4())
    place.sync(options=ad)
    account = User.objects.get(directory_id=str(guid))
    assert account.username == "ann.lee"
    assert members("Ward 7") == {"ann.lee": True}
    with override_settings(DIRECTORY=server.options(**ad)):
        assert DirectoryBackend().authenticate(None, "ann.lee", PASSWORD) == account
        assert DirectoryBackend().authenticate(None, "ann.lee@hospital.test", PASSWORD) == account
        assert DirectoryBackend().authenticate(None, "gone", PASSWORD) is None
    server.rename(ann, userAccountControl="514")
    assert place.sync(force=True, options=ad)["people"]["disable"] == ["ann.lee"]
    account.refresh_from_db()
    assert not account.is_active
