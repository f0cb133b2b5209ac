"""A code beside the password: setting it up, signing in with it, losing it."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import closing

import httpx
import pyotp
import pytest
from appliance_desk import Desk, evidence_since, last_event_id, refusal
from django.test import Client as DjangoClient
from django.test import override_settings

from appliance.accounts.actions import do_create_user
from appliance.accounts.models import Allowance, Role, SecondFactor, User
from appliance.ops.commands import COMMAND

CSRF = "reading_room_csrf"


@pytest.fixture
def person(desk: Desk) -> Iterator[User]:
    """Somebody new, without a second factor."""
    name = f"mfa-{uuid.uuid4().hex[:8]}"
    desk.room.passwords[name] = "a long password of theirs"
    yield do_create_user(name, desk.room.passwords[name], roles=(Role.STAFF,), actor=COMMAND)


def post(client: httpx.Client, address: str, **fields: str) -> httpx.Response:
    data = {"csrfmiddlewaretoken": client.cookies[CSRF]} | fields
    return client.post(address, data=data, headers={"Referer": str(client.base_url)})


def secret_in(page: str) -> str:
    found = re.search(r'<code id="secret">([A-Z2-7 ]+)</code>', page)
    assert found is not None
    return found.group(1).replace(" ", "")


def code_of(secret: str, *, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(time.time() + 30 * steps)


def enrol(client: httpx.Client) -> tuple[str, list[str]]:
    """Sets an app up in a browser: its secret, and the recovery codes. Uses the code of one step ago."""
    page = post(client, "/second-factor/app").text
    secret = secret_in(page)
    assert "<svg" in page and 'style="' not in page.partition("<svg")[2].partition("</svg>")[0]
    done = post(client, "/second-factor/app/confirm", code=code_of(secret, steps=-1))
    assert done.status_code == 200, done.text
    codes = re.findall(r"<code>([a-z0-9]{4}-[a-z0-9]{4}-[a-z0-9]{4})</code>", done.text)
    return secret, codes


def give_password(client: httpx.Client, desk: Desk, name: str) -> httpx.Response:
    client.get("/sign-in")
    return post(client, "/sign-in", username=name, password=desk.room.passwords[name])


def test_an_app_is_set_up_and_asked_for_at_the_next_sign_in(desk: Desk, person: User) -> None:
    before = last_event_id()
    with closing(desk.room.browser_session(person.username)) as client:
        secret, codes = enrol(client)
        assert len(set(codes)) == 10
        assert client.get("/second-factor").text.count(codes[0]) == 0
    added = [e["action"] for e in evidence_since(before, type="account")]
    assert added == ["second_factor.add", "second_factor.codes"]
    stored = b"".join(bytes(row.sealed) for row in SecondFactor.objects.filter(user=person))
    assert secret.encode() not in stored
    with desk.anonymous() as client:
        half = give_password(client, desk, person.username)
        assert half.headers["Location"].startswith("/sign-in/second")
        assert client.get("/library").status_code == 302  # the password alone signs nobody in
        assert refusal(client.get("/api/v1/collections")) == (401, "not_signed_in")
        code = code_of(secret)
        before = last_event_id()
        assert post(client, "/sign-in/second", code="000000" if code != "000000" else "111111").status_code == 422
        assert post(client, "/sign-in/second", code=code, next="/library").headers["Location"] == "/library"
        events = evidence_since(before)
        assert [(e["action"], e["outcome"]) for e in events] == [
            ("session.second_factor", "refused"),
            ("session.start", "success"),
        ]
        assert events[1]["detail"]["second_factor"] == "totp"
        assert client.get("/library").status_code == 200
    with desk.anonymous() as thief:  # who saw the code being typed
        give_password(thief, desk, person.username)
        assert post(thief, "/sign-in/second", code=code).status_code == 422


def test_a_recovery_code_works_once(desk: Desk, person: User) -> None:
    with closing(desk.room.browser_session(person.username)) as client:
        _, codes = enrol(client)
    for expected in (302, 422):
        with desk.anonymous() as client:
            give_password(client, desk, person.username)
            assert post(client, "/sign-in/second", code=codes[3].upper().replace("-", " ")).status_code == expected
    assert SecondFactor.objects.filter(user=person, used_at__isnull=False, kind="recovery").count() == 1


def test_codes_cannot_be_tried_without_end(desk: Desk, person: User) -> None:
    with closing(desk.room.browser_session(person.username)) as client:
        secret, _ = enrol(client)
    Allowance.objects.filter(key__startswith="second-factor:").delete()
    wrong = "12345" + ("0" if code_of(secret)[-1] != "0" else "1")
    with desk.anonymous() as client:
        give_password(client, desk, person.username)
        answers = [post(client, "/sign-in/second", code=wrong).status_code for _ in range(6)]
        assert answers == [422] * 5 + [429]
        assert post(client, "/sign-in/second", code=code_of(secret)).status_code == 429


def test_without_the_password_no_code_is_asked_for(desk: Desk) -> None:
    with desk.anonymous() as client:
        assert client.get("/sign-in/second").headers["Location"] == "/sign-in"
        client.get("/sign-in")
        assert post(client, "/sign-in/second", code="123456").headers["Location"] == "/sign-in"


def test_a_wrong_code_sets_nothing_up(desk: Desk, person: User) -> None:
    with closing(desk.room.browser_session(person.username)) as client:
        secret = secret_in(post(client, "/second-factor/app").text)
        wrong = post(client, "/second-factor/app/confirm", code="abc")
        assert wrong.status_code == 422 and secret_in(wrong.text) == secret
    with desk.anonymous() as client:
        assert give_password(client, desk, person.username).headers["Location"] == "/"


def test_removing_it_and_losing_it(desk: Desk, person: User) -> None:
    with closing(desk.room.browser_session(person.username)) as client:
        enrol(client)
        factor = SecondFactor.objects.get(user=person, kind="totp")
        with closing(desk.room.browser_session("bob")) as bob, closing(desk.room.browser_session("root")) as root:
            assert post(bob, f"/second-factor/{factor.pk}/remove").status_code == 404
            assert post(bob, f"/sessions/of/{person.pk}/reset-second-factor").status_code == 404
            assert SecondFactor.objects.filter(user=person).count() == 11
            assert post(client, f"/second-factor/{factor.pk}/remove").status_code == 302
            assert not SecondFactor.objects.filter(user=person).exists()
            enrol(client)
            assert post(root, f"/sessions/of/{person.pk}/reset-second-factor").status_code == 302
    with desk.anonymous() as client:
        assert give_password(client, desk, person.username).headers["Location"] == "/"


def test_a_role_that_needs_one_reaches_nothing_else_first(desk: Desk, person: User) -> None:
    client = DjangoClient(SERVER_NAME="127.0.0.1")
    with override_settings(SECOND_FACTOR_ROLES=frozenset({"staff"})):
        given = {"username": person.username, "password": desk.room.passwords[person.username]}
        assert client.post("/sign-in", given).status_code == 302
        assert client.get("/library").headers["Location"] == "/second-factor"
        assert client.get("/api/v1/collections").json()["error"]["code"] == "second_factor_required"
        page = client.post("/second-factor/app").content.decode()
        done = client.post("/second-factor/app/confirm", {"code": code_of(secret_in(page))})
        assert done.status_code == 200
        assert client.get("/library").status_code == 200
        factor = SecondFactor.objects.get(user=person, kind="totp")
        only = client.post(f"/second-factor/{factor.pk}/remove")
        assert only.status_code == 400 and "only one" in only.content.decode()
