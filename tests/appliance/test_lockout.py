"""Too many tries: names and addresses that are locked, allowances that are used up, and what is swept away later."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import httpx
import pytest
from access_forms import send
from appliance_desk import Desk, evidence_since, last_event_id
from axes.models import AccessAttempt
from django.db import connections
from django.test import Client as DjangoClient
from django.test import override_settings
from django.utils import timezone

from appliance.accounts import throttle
from appliance.accounts.actions import do_create_user
from appliance.accounts.models import Allowance, Session
from appliance.accounts.tasks import tidy
from appliance.audit.record import text_digest
from appliance.lib.errors import RateLimited
from appliance.ops.commands import COMMAND


@pytest.mark.parametrize("exists", [True, False])
def test_too_many_wrong_passwords_lock_a_name_whether_or_not_it_is_somebody_s(desk: Desk, exists: bool) -> None:
    name, password = f"lena-{uuid.uuid4().hex[:8]}", "the right long password"
    person = do_create_user(name, password, actor=COMMAND) if exists else None

    def attempt(client: httpx.Client, given: str) -> httpx.Response:
        return send(client, "/sign-in", username=name, password=given)

    with desk.anonymous() as client:
        client.get("/sign-in")
        for _ in range(9):
            assert attempt(client, "wrong").status_code == 422
        before = last_event_id()
        locked = [attempt(client, given) for given in ("wrong", "wrong", password)]
        for response in locked:
            assert response.status_code == 429 and "too many tries" in response.text
            assert int(response.headers["Retry-After"]) == 900
        events = evidence_since(before)
        assert all(e["outcome"] == "refused" and e["detail"]["locked"] for e in events) and len(events) == 3
        assert name not in str(list(AccessAttempt.objects.values_list()))
        if person is None:
            return
        with closing(desk.room.browser_session("root")) as root:
            assert "Unlock sign-in" in root.get(f"/sessions/of/{person.pk}").text
            assert send(root, f"/sessions/of/{person.pk}/unlock").status_code == 302
        assert attempt(client, password).status_code == 302


def test_a_lock_ends_by_itself_and_by_the_right_password_before_it(desk: Desk) -> None:
    name, password = f"lena-{uuid.uuid4().hex[:8]}", "the right long password"
    do_create_user(name, password, actor=COMMAND)
    with desk.anonymous() as client:
        client.get("/sign-in")
        for _ in range(10):
            send(client, "/sign-in", username=name, password="wrong")
        assert send(client, "/sign-in", username=name, password=password).status_code == 429
        AccessAttempt.objects.filter(username=text_digest(name)).update(
            attempt_time=timezone.now() - timedelta(seconds=901)
        )
        assert send(client, "/sign-in", username=name, password=password).status_code == 302
    assert not AccessAttempt.objects.filter(username=text_digest(name)).exists()


def test_an_address_is_locked_by_wrong_passwords_for_many_names(desk: Desk) -> None:
    """In this process, behind the proxy: it says who the client is."""
    client = DjangoClient(SERVER_NAME="127.0.0.1")
    with override_settings(BEHIND_TLS=True, SIGN_IN_ADDRESS_LIMIT=4, SECURE_SSL_REDIRECT=False):

        def attempt(address: str, name: str, password: str) -> int:
            return client.post(
                "/sign-in",
                {"username": name, "password": password},
                headers={"X-Real-IP": address},
            ).status_code

        assert [attempt("192.0.2.7", f"nobody{n}", "wrong") for n in range(5)] == [422, 422, 422, 429, 429]
        assert attempt("192.0.2.7", "alice", desk.room.passwords["alice"]) == 429
        assert attempt("192.0.2.8", "alice", desk.room.passwords["alice"]) == 302
    AccessAttempt.objects.filter(ip_address="192.0.2.7").delete()


def test_signing_in_too_often_from_one_address_is_refused_with_a_time(desk: Desk) -> None:
    client = DjangoClient(SERVER_NAME="127.0.0.1")
    Allowance.objects.filter(key__startswith="sign-in:").delete()
    with override_settings(SIGN_IN_PER_MINUTE=2):
        answers = [client.post("/sign-in", {"username": "", "password": ""}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [422, 422, 429]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 30


def test_requests_at_the_same_instant_cannot_both_have_the_last_of_an_allowance(django_room: object) -> None:
    whose = uuid.uuid4()

    def take(_: int) -> bool:
        try:
            throttle.take(throttle.SEARCH, whose)
        except RateLimited as error:
            assert 1 <= error.retry_after_s <= 10
            return False
        finally:
            connections.close_all()
        return True

    with override_settings(SEARCH_PER_MINUTE=6), ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(24))) == 6


def test_sessions_that_ended_long_ago_and_full_allowances_are_swept_away(desk: Desk) -> None:
    now = timezone.now()
    used = Allowance.objects.create(key=f"search:{uuid.uuid4()}", used_until=now + timedelta(minutes=5))
    full = Allowance.objects.create(key=f"search:{uuid.uuid4()}", used_until=now - timedelta(minutes=5))
    with closing(desk.room.browser_session("alice")) as client:
        ended = Session.objects.latest("started_at")
        send(client, "/sign-out")
    with closing(desk.room.browser_session("alice")) as client:
        alive = Session.objects.latest("started_at")
        tidy()
        assert Session.objects.filter(pk=ended.pk).exists()  # a cookie sent again is still known for what it was
        Session.objects.filter(pk=ended.pk).update(expire_date=now - timedelta(days=60))
        tidy()
        assert client.get("/library").status_code == 200
    assert Session.objects.filter(pk__in=[alive.pk, ended.pk]).get() == alive
    assert Allowance.objects.filter(pk__in=[used.pk, full.pk]).get() == used
