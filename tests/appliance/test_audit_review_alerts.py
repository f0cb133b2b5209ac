"""Alerts: what each rule finds, once and counted up; acknowledging; reviews that wait for both."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from access_forms import new_person, send, signed_in
from appliance_desk import Desk, as_owner, evidence_since, last_event_id, until
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from appliance.accounts.models import Role, User
from appliance.audit import alerting, alerts, weekly
from appliance.audit.models import Alert, AlertRule, EventType, Outcome, Review, Watermark
from appliance.audit.record import Actor, Entity, Event, record
from appliance.audit.standing import Standing
from appliance.documents.models import BreakGlass, Collection


@pytest.fixture(scope="module")
def officer(desk: Desk) -> Iterator[httpx.Client]:
    """cora, signed in."""
    with closing(desk.room.browser_session("cora")) as client:
        yield client


@pytest.fixture
def person(desk: Desk) -> User:
    """Somebody of whom there is no alert yet."""
    return User.objects.get(username=new_person(desk, Role.STAFF))


@pytest.fixture(autouse=True)
def _always_open() -> Iterator[None]:
    """No test but the one of that rule depends on the time of day."""
    with override_settings(WORKING_HOURS=(0, 24 * 60), WORKING_DAYS=frozenset(range(7))):
        yield


def happens(
    who: User | None, type_: EventType = EventType.ACCESS, act: str = "test.act", *, address: str = "", **more: Any
) -> None:
    actor = Actor(who.pk, who.username, address=address) if who else Actor(address=address)
    record(Event(type_, act, **more), actor=actor)


def opened(who: User, number: int, *, again: int = 1) -> None:
    for n in range(number):
        for _ in range(again):
            happens(who, entities=(Entity("document", str(uuid.UUID(int=n))),))


def watched(**conditions: Any) -> list[Alert]:
    """The alerts of these conditions once the rules have looked at everything recorded so far."""
    newest = last_event_id()

    def looked() -> bool:
        alerting.do_watch()
        return Watermark.objects.get(name="alerts").event >= newest

    until(looked)
    return list(Alert.objects.filter(**conditions).order_by("raised_at"))


def test_bulk_reading_counts_different_documents(person: User) -> None:
    with override_settings(ALERT_BULK_DOCUMENTS=5):
        opened(person, 4, again=3)
        assert watched(actor_id=person.pk) == []
        happens(person, EventType.DISCLOSURE, entities=(Entity("document", str(uuid.UUID(int=9))),))
        (alert,) = watched(actor_id=person.pk)
        assert (alert.rule, alert.num_events, alert.actor_name) == (AlertRule.BULK_READING, 1, person.username)
        opened(person, 1)
        assert [again.num_events for again in watched(actor_id=person.pk)] == [2]
        assert [again.pk for again in watched(actor_id=person.pk)] == [alert.pk]  # nothing was counted twice


def test_documents_over_a_longer_time_are_no_bulk() -> None:
    start = datetime(2026, 11, 20, 12, tzinfo=UTC)
    rows = [(start + timedelta(minutes=3 * n), n, f"document {n}") for n in range(20)]
    assert alerting._crowded(rows, timedelta(minutes=10), 5) == set()
    assert alerting._crowded(rows, timedelta(minutes=9), 4) == set(range(3, 20))
    assert alerting._crowded([(start, n, "the same") for n in range(9)], timedelta(minutes=10), 2) == set()


def test_use_outside_working_hours_once_a_day(person: User) -> None:
    with override_settings(WORKING_DAYS=frozenset()):
        happens(person, EventType.INTENT)
        happens(person, EventType.DISCLOSURE)
        happens(person, EventType.SIGN_IN)
        happens(person, EventType.ACCESS, outcome=Outcome.REFUSED)
        happens(person)
        (alert,) = watched(actor_id=person.pk)
    assert (alert.rule, alert.num_events) == (AlertRule.AFTER_HOURS, 2)
    assert alert.first_event is not None and alert.last_event is not None and alert.first_event < alert.last_event


def test_a_wall_that_is_touched(person: User) -> None:
    wall = str(uuid.uuid4())
    refused = {"act": "wall.refused", "outcome": Outcome.REFUSED, "entities": (Entity("wall", wall),)}
    happens(person, EventType.REFUSAL, **refused)
    happens(person, EventType.REFUSAL, **refused)
    (alert,) = watched(actor_id=person.pk)
    assert (alert.rule, alert.num_events) == (AlertRule.WALL_TOUCHED, 2)
    assert (alert.subject_kind, alert.subject_id) == ("wall", wall)


def test_refused_again_and_again_by_person_and_by_address(person: User) -> None:
    address = f"198.51.100.7-{uuid.uuid4().hex[:6]}"
    with override_settings(ALERT_REFUSALS=3):
        for _ in range(2):
            happens(person, EventType.REFUSAL, outcome=Outcome.REFUSED)
            happens(None, EventType.SIGN_IN, outcome=Outcome.REFUSED, address=address)
        assert watched(actor_id=person.pk) == watched(subject_id=address) == []
        happens(person, EventType.REFUSAL, outcome=Outcome.REFUSED)
        happens(None, EventType.SIGN_IN, outcome=Outcome.REFUSED, address=address)
        assert [alert.rule for alert in watched(actor_id=person.pk)] == [AlertRule.REPEATED_REFUSALS]
        (unknown,) = watched(subject_id=address)
        assert unknown.actor_id is None and unknown.subject_kind == "address"


def glass_of(person: User) -> BreakGlass:
    """Emergency access that this person opened."""
    now, collection = timezone.now(), Collection.objects.get(name="Contracts")
    broken = BreakGlass.objects.create(user=person, collection=collection, reason="r", reference="P-1", ends_at=now)
    happens(person, EventType.GRANT, "break_glass.open", entities=(Entity("break_glass", str(broken.pk)),))
    return broken


def test_broken_glass_at_the_first_time_and_each_time(person: User) -> None:
    broken = [glass_of(person), glass_of(person)]
    found = watched(actor_id=person.pk, rule=AlertRule.BREAK_GLASS)
    assert [alert.subject_id for alert in found] == [str(one.pk) for one in broken]


def test_a_seal_that_is_behind_is_one_alert_while_it_is_open(monkeypatch: pytest.MonkeyPatch, django_room: Any) -> None:
    Alert.objects.filter(rule=AlertRule.SEAL_BEHIND).delete()
    monkeypatch.setattr(alerting, "standing", lambda: Standing(1, None, 59.0))
    assert watched(rule=AlertRule.SEAL_BEHIND) == []
    monkeypatch.setattr(alerting, "standing", lambda: Standing(1, None, 61.0))
    watched()
    (alert,) = watched(rule=AlertRule.SEAL_BEHIND)
    assert alert.num_events > 1 and alert.actor_id is None
    alert.acknowledged_at = timezone.now()
    alert.save()
    assert len(watched(rule=AlertRule.SEAL_BEHIND)) == 2
    Alert.objects.filter(rule=AlertRule.SEAL_BEHIND).delete()


def test_an_event_of_a_slow_transaction_is_not_passed_over(desk: Desk, person: User) -> None:
    def slow(db: psycopg.Connection[Any]) -> None:
        row = db.execute(
            "INSERT INTO audit_auditevent (uid, recorded_at, type, action, outcome, actor_id, actor_name, canonical, "
            "leaf_hash) VALUES (%s, now(), 'refusal', 'wall.refused', 'refused', %s, 'slow', '{}', %s) RETURNING id",
            (uuid.uuid4(), person.pk, bytes(32)),
        ).fetchone()
        assert row is not None

    with as_owner(desk.room) as owner:
        owner.autocommit = False
        slow(owner)
        happens(person, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED)
        alerting.do_watch()  # the later event is left for when the earlier one has ended
        owner.rollback()
    (alert,) = watched(actor_id=person.pk)
    assert alert.num_events == 1


def test_after_a_restore_elsewhere_only_later_events_are_new(person: User) -> None:
    happens(person, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED)
    watched()
    Watermark.objects.filter(name="alerts").update(cluster="another", xid=2**60)
    happens(person, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED)
    (alert,) = watched(actor_id=person.pk)
    assert alert.num_events == 2


def test_what_is_raised_is_recorded_and_shows_in_the_queue(officer: httpx.Client, person: User) -> None:
    before = last_event_id()
    happens(person, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED, entities=(Entity("wall", "x"),))
    (alert,) = watched(actor_id=person.pk)
    raised = [e for e in evidence_since(before, action="alert.raise") if e["entities"][0]["id"] == str(alert.pk)]
    assert [(e["agent"]["name"], e["detail"]) for e in raised] == [("system", {"rule": "wall_touched"})]
    page = officer.get("/audit/alerts", params={"person": str(person.pk)}).text
    assert f"A walled document was asked for: {person}" in page
    assert f"{alerts.num_open():,}<span" in page  # beside the links
    assert str(alert.pk) not in officer.get("/audit/alerts", params={"rule": "after_hours"}).text
    for wrong in ({"rule": "none"}, {"state": "lost"}, {"person": "alice"}, {"before": str(uuid.uuid4())}):
        assert officer.get("/audit/alerts", params=wrong).status_code == 400


def test_acknowledging_takes_it_out_once_and_what_comes_later_is_new(officer: httpx.Client, person: User) -> None:
    touched = {"act": "wall.refused", "outcome": Outcome.REFUSED, "entities": (Entity("wall", "w"),)}
    happens(person, EventType.REFUSAL, **touched)
    (alert,) = watched(actor_id=person.pk)
    before, address = last_event_id(), f"/audit/alerts/{alert.pk}/acknowledge"
    assert send(officer, address, note="They took a wrong turn.").headers["Location"] == "/audit/alerts?said=one"
    again = send(officer, address)
    assert again.status_code == 409 and "already_acknowledged" in again.text
    assert send(officer, f"/audit/alerts/{uuid.uuid4()}/acknowledge").status_code == 404
    (event,) = evidence_since(before, action="alert.acknowledge")
    assert event["entities"] == [{"kind": "alert", "id": str(alert.pk)}, {"kind": "user", "id": str(person.pk)}]
    assert event["detail"] == {"rule": "wall_touched", "events": 1, "own": False}
    done = officer.get("/audit/alerts", params={"state": "acknowledged", "person": str(person.pk)}).text
    assert "They took a wrong turn." in done and "Acknowledged by" in done
    happens(person, EventType.REFUSAL, **touched)
    first, second = watched(actor_id=person.pk)
    assert (first.pk, first.num_events, second.acknowledged_at) == (alert.pk, 1, None)


def test_emergency_access_and_ones_own_need_a_note(officer: httpx.Client, desk: Desk, person: User) -> None:
    glass_of(person)
    (alert,) = watched(actor_id=person.pk, rule=AlertRule.BREAK_GLASS)
    before, address = last_event_id(), f"/audit/alerts/{alert.pk}/acknowledge"
    refused = send(officer, address, note="  ")
    assert refused.status_code == 400 and "note_needed" in refused.text
    everyone = {"rule": alert.rule, "person": str(person.pk)}
    assert send(officer, "/audit/alerts/acknowledge", **everyone).status_code == 400
    assert [e["outcome"] for e in evidence_since(before, action="alert.acknowledge")] == ["refused", "refused"]
    assert send(officer, address, note="Called the ward; documented.").status_code == 302
    name = new_person(desk, Role.COMPLIANCE_OFFICER)
    me = User.objects.get(username=name)
    happens(me, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED)
    (own,) = watched(actor_id=me.pk)
    with signed_in(desk, name) as client:
        assert send(client, f"/audit/alerts/{own.pk}/acknowledge").status_code == 400
        assert send(client, f"/audit/alerts/{own.pk}/acknowledge", note="A test of the wall.").status_code == 302
    assert evidence_since(before, action="alert.acknowledge")[-1]["detail"]["own"] is True


def test_all_of_one_rule_and_person_at_once(officer: httpx.Client, person: User) -> None:
    other = User.objects.get(username="alice")
    for who in (person, other):
        for wall in ("one", "two"):
            entities = (Entity("wall", f"{wall}-{person.pk}"),)
            happens(who, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED, entities=entities)
    watched()
    form = {"rule": "wall_touched", "person": str(person.pk), "note": "One walk along the wall."}
    assert send(officer, "/audit/alerts/acknowledge", **form).headers["Location"] == "/audit/alerts?said=2"
    assert {alert.note for alert in watched(actor_id=person.pk)} == {"One walk along the wall."}
    left = Alert.objects.filter(actor_id=other.pk, subject_id__endswith=str(person.pk), acknowledged_at=None)
    assert left.count() == 2
    assert send(officer, "/audit/alerts/acknowledge", **form).headers["Location"] == "/audit/alerts?said=none"
    assert send(officer, "/audit/alerts/acknowledge", rule="none").status_code == 400


def under_way() -> Review:
    """The review that is open, or a new one."""
    found = Review.objects.filter(signed_at=None).first()
    if found is None:
        cora = User.objects.get(username="cora")
        found = weekly.do_begin(officer=cora.pk, actor=Actor(cora.pk, "cora"))
    return found


def acknowledge_everything() -> None:
    for alert in Alert.objects.filter(acknowledged_at=None):
        alerts.do_acknowledge(alert.pk, note="Looked at.", officer=uuid.uuid4(), actor=Actor(name="test"))


def test_a_review_waits_for_its_alerts_then_is_signed_and_stays(
    officer: httpx.Client, desk: Desk, person: User
) -> None:
    if Review.objects.filter(signed_at=None).exists():
        acknowledge_everything()
        send(officer, f"/audit/reviews/{under_way().pk}/sign", findings="An earlier one.")
    happens(person, EventType.REFUSAL, "wall.refused", outcome=Outcome.REFUSED)
    watched()
    before = last_event_id()
    began = send(officer, "/audit/reviews/begin")
    review = under_way()
    address = f"/audit/reviews/{review.pk}"
    assert began.headers["Location"] == address
    assert send(officer, "/audit/reviews/begin").headers["Location"] == address  # one at a time
    assert send(officer, f"{address}/note", findings="Half way through.").status_code == 302
    assert "Half way through." in officer.get(address).text
    refused = send(officer, f"{address}/sign", findings="Nothing unusual.")
    assert refused.status_code == 409 and "alerts_open" in refused.text and "Nothing unusual." in refused.text
    acknowledge_everything()
    assert send(officer, f"{address}/sign", findings="  ").status_code == 400
    assert send(officer, f"{address}/sign", findings="Nothing unusual.").status_code == 302
    review.refresh_from_db()
    assert review.signed_at is not None and review.findings == "Nothing unusual."
    assert review.num_events > 0 and review.num_alerts > 0 and review.checkpoint_size
    for act in ("note", "sign"):
        assert "review_signed" in send(officer, f"{address}/{act}", findings="Something else.").text
    with pytest.raises(Exception, match="stays as it is"):
        Review.objects.filter(pk=review.pk).update(findings="Something else.")
    connection.close()
    acts = [e for e in evidence_since(before, type="review") if e["action"].startswith("review.")]
    assert [(e["action"], e["outcome"]) for e in acts] == [
        ("review.begin", "success"),
        ("review.note", "success"),
        ("review.sign", "refused"),
        ("review.sign", "success"),
    ]
    assert acts[-1]["detail"]["checkpoint"] == review.checkpoint_size and "unusual" not in str(acts)
    later = weekly.do_begin(officer=review.officer, actor=Actor())
    assert later.period_start == review.period_end  # nothing lies between two reviews
    page = officer.get("/audit/reviews").text
    assert "Go on with the open review" in page and "Begin a review" not in page


def test_signing_asks_for_the_password_again(officer: httpx.Client, desk: Desk) -> None:
    from appliance.accounts.session_store import SessionStore
    from appliance.accounts.sessions import PROVED_AT

    review = under_way()
    with closing(desk.room.browser_session("cora")) as client:
        store = SessionStore(session_key=client.cookies["reading_room_session"])
        store[PROVED_AT] = 0
        store.save()
        asked = send(client, f"/audit/reviews/{review.pk}/sign", findings="All in order.")
        assert asked.status_code == 403 and 'name="current_password"' in asked.text and "All in order." in asked.text
    review.refresh_from_db()
    assert review.signed_at is None


def test_the_pages_of_oversight_are_for_officers_alone(desk: Desk, alice: httpx.Client) -> None:
    pages = ("/audit/alerts", "/audit/reviews", "/audit/charts", "/audit/filters", "/audit/seal")
    with closing(desk.room.browser_session("root")) as root, closing(desk.room.browser_session("alice")) as reader:
        for client in (root, reader):
            assert {client.get(page).status_code for page in pages} == {404}
            assert send(client, "/audit/alerts/acknowledge", rule="wall_touched").status_code == 404
            assert send(client, "/audit/reviews/begin").status_code == 404
