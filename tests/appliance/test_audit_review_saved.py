"""Saved filters, charts, the seal and its checks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from access_forms import new_person, send, signed_in
from appliance_desk import Desk, evidence_since, last_event_id, until
from django.test import override_settings
from django.utils import timezone

from appliance.accounts.models import Role, User
from appliance.audit import charts, checking, standing
from appliance.audit.hours import is_after_hours
from appliance.audit.models import Checkpoint, EventType, Outcome, SavedFilter, Verification
from appliance.audit.record import Actor, Event, record
from appliance.lib.env import SettingError, hours, weekdays
from appliance.ops.audit import seal


@pytest.fixture(scope="module")
def officer(desk: Desk) -> Iterator[httpx.Client]:
    """cora, signed in."""
    with closing(desk.room.browser_session("cora")) as client:
        yield client


@pytest.fixture
def other(desk: Desk) -> Iterator[httpx.Client]:
    """Another compliance officer, signed in."""
    with signed_in(desk, new_person(desk, Role.COMPLIANCE_OFFICER)) as client:
        yield client


def kept(name: str) -> SavedFilter:
    return SavedFilter.objects.get(name=name)


def test_a_filter_is_saved_renamed_shared_and_deleted(officer: httpx.Client, other: httpx.Client) -> None:
    name, before = f"Refusals {uuid.uuid4()}", last_event_id()
    saved = {"name": name, "query": "outcome=refused&type=access"}
    assert send(officer, "/audit/filters/save", **saved).headers["Location"] == "/audit/filters?said=saved"
    one = kept(name)
    assert one.query == "type=access&outcome=refused" and not one.shared
    assert f'href="/audit?{one.query}">{name}' in unescape(officer.get("/audit").text)
    assert name not in other.get("/audit").text
    change = f"/audit/filters/{one.pk}"
    assert send(other, change, name="Mine now").status_code == 404
    assert send(other, f"{change}/delete").status_code == 404
    assert send(officer, change, name=f"{name} 2", shared="yes").status_code == 302
    assert f"{name} 2" in other.get("/audit").text and f"{name} 2" in other.get("/audit/filters").text
    assert send(other, change, name="Mine now").status_code == 404  # shared to read, not to change
    assert send(officer, f"{change}/delete").status_code == 302
    assert f"{name} 2" not in other.get("/audit/filters").text
    acts = [e for e in evidence_since(before, type="review") if e["action"].startswith("filter.")]
    assert [(e["action"], e["detail"]) for e in acts] == [
        ("filter.save", {"shared": False}),
        ("filter.change", {"shared": True}),
        ("filter.delete", {"shared": True}),
    ]
    assert name not in str(acts)


def test_a_filter_needs_a_name_of_its_own_and_must_mean_something(officer: httpx.Client) -> None:
    name = f"Once {uuid.uuid4()}"
    save = "/audit/filters/save"
    assert send(officer, save, name=name, query="type=access").status_code == 302
    again = send(officer, save, name=name, query="type=intent")
    assert again.status_code == 409 and "name_taken" in again.text
    assert send(officer, save, name="  ", query="type=access").status_code == 400
    wrong = send(officer, save, name="Wrong", query="type=acces")
    assert wrong.status_code == 400 and "“acces” is no type of event." in wrong.text
    second = f"Twice {uuid.uuid4()}"
    send(officer, save, name=second, query="type=intent")
    assert send(officer, f"/audit/filters/{kept(second).pk}", name=name).status_code == 409
    assert kept(second).query == "type=intent"


def test_charts_count_each_day(officer: httpx.Client, desk: Desk) -> None:
    person = User.objects.get(username=new_person(desk, Role.STAFF))
    actor = Actor(person.pk, person.username)
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.REFUSED):
        record(Event(EventType.ACCESS, "test.chart", outcome), actor=actor)
    today = timezone.localdate()
    start = timezone.make_aware(datetime(today.year, today.month, today.day)) - timedelta(days=2)
    found = charts.days(start, start + timedelta(days=3), today - timedelta(days=2), person=person.pk)
    assert [(day.day, day.num_events, day.num_refused) for day in found][-1] == (today, 3, 1)
    assert [day.num_events for day in found[:2]] == [0, 0]
    with override_settings(WORKING_HOURS=(0, 24 * 60), WORKING_DAYS=frozenset()):
        assert charts.days(start, start + timedelta(days=3), start.date(), person=person.pk)[-1].num_after_hours == 3
    with override_settings(WORKING_HOURS=(0, 24 * 60), WORKING_DAYS=frozenset(range(7))):
        assert charts.days(start, start + timedelta(days=3), start.date(), person=person.pk)[-1].num_after_hours == 0
    page = officer.get("/audit/charts", params={"person": person.username})
    row = re.search(rf'from={today}&amp;to={today}[^>]*>[^<]*</a></th>((?:<td class="num">\d+</td>)+)', page.text)
    assert row is not None and re.findall(r"\d+", row[1])[:2] == ["3", "1"]
    assert "3 in all; most on" in page.text


@pytest.mark.parametrize(
    "asked", [{"from": "soon"}, {"from": "2026-01-02", "to": "2026-01-01"}, {"from": "2020-01-01"}, {"person": "zz zz"}]
)
def test_charts_refuse_what_means_nothing(officer: httpx.Client, asked: dict[str, str]) -> None:
    answered = officer.get("/audit/charts", params=asked)
    assert answered.status_code == 400 and "filter_refused" in answered.text


@pytest.mark.parametrize(
    ("at", "shift", "after"),
    [
        ("2026-11-20 07:00", (420, 1140), False),  # a Friday
        ("2026-11-20 06:59", (420, 1140), True),
        ("2026-11-20 19:00", (420, 1140), True),
        ("2026-11-21 12:00", (420, 1140), True),
        ("2026-11-20 23:00", (1320, 360), False),
        ("2026-11-21 05:59", (1320, 360), False),  # the end of Friday's shift
        ("2026-11-21 06:00", (1320, 360), True),
        ("2026-11-21 23:00", (1320, 360), True),
        ("2026-11-16 03:00", (1320, 360), True),  # the end of a Sunday's
    ],
)
def test_working_hours_in_python_and_in_the_database(
    django_room: Any, at: str, shift: tuple[int, int], after: bool
) -> None:
    from django.db import connection

    from appliance.audit import hours as working

    moment = timezone.make_aware(datetime.fromisoformat(at))
    with override_settings(WORKING_HOURS=shift, WORKING_DAYS=frozenset(range(5))):
        assert is_after_hours(moment) is after
        with connection.cursor() as cursor:
            given = working.parameters() | {"at": moment}
            cursor.execute(f"SELECT {working.SQL} FROM (SELECT %(at)s::timestamptz AS recorded_at) AS e", given)
            assert cursor.fetchone()[0] is after


def test_working_hours_are_read_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(name: str, value: str) -> Any:
        monkeypatch.setenv("APPLIANCE_X", value)
        return hours("APPLIANCE_X", "") if name == "hours" else weekdays("APPLIANCE_X", "")

    assert read("hours", "22:00-06:30") == (1320, 390)
    assert read("hours", "00:00-24:00") == (0, 1440)
    assert read("days", "mon,wed,sat-sun") == {0, 2, 5, 6}
    assert read("days", "fri-mon") == {4, 5, 6, 0}
    for name, wrong in (("hours", "7-19"), ("hours", "07:00-07:00"), ("hours", "07:00-24:30"), ("days", "mon-someday")):
        with pytest.raises(SettingError, match="APPLIANCE_X"):
            read(name, wrong)


def test_a_check_finds_the_audit_sound_and_says_until_when(officer: httpx.Client) -> None:
    record(Event(EventType.SYSTEM, "test.seal"), actor=Actor(name="system"))
    until(lambda: Checkpoint.objects.exists())
    found = checking.do_check()
    assert found is not None and found.sound and found.problem == ""
    head = Checkpoint.objects.get(size=found.size)
    now = seal.seal_of()
    assert now.state == "sealed" and now.verified_until == head.signed_at
    badge = officer.get("/audit/seal", headers={"HX-Request": "true"}).text
    assert "Sealed up to" in badge and "verified up to" in badge and "<html" not in badge


def test_check_now_is_recorded_and_done_by_a_worker(officer: httpx.Client, desk: Desk) -> None:
    before, last = last_event_id(), Verification.objects.order_by("-at").values_list("pk", flat=True).first() or 0
    assert send(officer, "/audit/seal/check").headers["Location"] == "/audit/seal?said=checking"
    (asked,) = evidence_since(before, action="audit.check")
    assert asked["type"] == "review" and asked["agent"]["name"] == "cora"
    done = until(lambda: Verification.objects.filter(pk__gt=last).first())
    assert done.sound
    assert f"{done.size:,}" in officer.get("/audit/seal").text


@pytest.mark.parametrize(
    ("behind_s", "state", "tone"), [(30, "sealed", "ok"), (90, "behind", "warn"), (700, "read_only", "bad")]
)
def test_how_far_the_seal_is_behind_shows(
    monkeypatch: pytest.MonkeyPatch, django_room: Any, behind_s: float, state: str, tone: str
) -> None:
    Verification.objects.filter(sound=False).delete()
    monkeypatch.setattr(seal, "standing", lambda: standing.Standing(7, datetime.now(UTC), behind_s))
    assert (seal.seal_of().state, seal.seal_of().tone) == (state, tone)
    assert seal.tile()[0] == tone


def test_damage_shows_everywhere_until_it_is_gone(officer: httpx.Client) -> None:
    problem = f"Event {uuid.uuid4()} was changed."
    found = Verification.objects.create(size=1, sound=False, problem=problem)
    try:
        assert problem in officer.get("/audit/seal").text
        for page in ("/audit", "/audit/alerts", "/audit/reviews", "/audit/charts", "/audit/filters"):
            assert "Damage found" in officer.get(page).text
        status = officer.get("/status").text
        assert "Seal of the audit: Damage found." in status and problem in status
    finally:
        found.delete()
    assert "Damage found" not in officer.get("/audit").text
