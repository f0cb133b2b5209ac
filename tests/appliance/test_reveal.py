"""Reading what was asked and answered: an officer asks, somebody else decides, and it is over after an hour."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from access_forms import new_person, send, signed_in, words
from appliance_desk import ANSWER_QUOTE, QUESTION, Desk, Room, as_owner, evidence_since, last_event_id, search, until
from django.db import DatabaseError, transaction
from django.test import override_settings
from django.utils import timezone

from appliance.accounts.models import Role, User
from appliance.audit import content, reveals
from appliance.audit.models import AuditEvent, Content, Reveal
from appliance.lib.principal import acting_as

REASON = "Complaint 2026-0331 about the cleaning advice"


@dataclass
class Reading:
    """A question of alice's, an officer who wants to read it, and those who may decide."""

    desk: Desk
    officer: str
    approver: str
    browser: httpx.Client
    decider: httpx.Client
    correlation: uuid.UUID
    stack: ExitStack
    names: dict[str, User] = field(default_factory=dict)

    @property
    def page(self) -> str:
        return f"/audit/content/{self.correlation}"

    def ask(self, **form: Any) -> httpx.Response:
        return send(self.browser, f"{self.page}/ask", **{"reason": REASON, "reference": "C-331"} | form)

    def reveal(self) -> Reveal:
        return Reveal.objects.get(correlation=self.correlation, requested_by=self.pk(self.officer))

    def decide(self, decision: str, by: httpx.Client | None = None) -> httpx.Response:
        return send(by or self.decider, f"/audit/reveals/{self.reveal().pk}", decision=decision)

    def read(self, by: httpx.Client | None = None) -> httpx.Response:
        return send(by or self.browser, f"{self.page}/read")

    def pk(self, name: str) -> uuid.UUID:
        return User.objects.get(username=name).pk

    def session(self, *roles: Role) -> httpx.Client:
        return self.stack.enter_context(signed_in(self.desk, new_person(self.desk, *roles)))

    def allowed(self) -> None:
        assert self.ask().status_code == 303
        assert self.decide("approved").status_code == 303


@pytest.fixture
def reading(desk: Desk, alice: httpx.Client, contracts: str) -> Iterator[Reading]:
    before = last_event_id()
    body = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": [contracts]}
    assert alice.post("/v1/chat/completions", json=body).status_code == 200
    ends = until(lambda: [e for e in evidence_since(before, action="answer.finish") if e["agent"]["name"] == "alice"])
    officer, approver = new_person(desk, Role.COMPLIANCE_OFFICER), new_person(desk, Role.CONTENT_APPROVER)
    with ExitStack() as stack:
        own, other = (stack.enter_context(signed_in(desk, name)) for name in (officer, approver))
        yield Reading(desk, officer, approver, own, other, uuid.UUID(ends[0]["correlation"]), stack)


def acts(before: int, correlation: uuid.UUID) -> list[tuple[str, str, str]]:
    """Who did what about reading one question, and how it ended."""
    found = evidence_since(before, correlation=correlation, type="reveal")
    return [(event["agent"]["name"], event["action"], event["outcome"]) for event in found]


def test_from_the_request_to_the_end_of_the_hour(reading: Reading) -> None:
    before = last_event_id()
    event = AuditEvent.objects.filter(correlation=reading.correlation).order_by("pk")[0]
    assert reading.page in reading.browser.get(f"/audit/events/{event.uid}").text
    assert "Question and answer are hidden" in words(reading.browser.get(reading.page))
    assert reading.ask().status_code == 303
    assert "Waiting for a second person" in words(reading.browser.get(reading.page))
    early = reading.read()
    assert early.status_code == 403 and "reveal_not_allowed" in early.text and QUESTION not in early.text

    listed = reading.decider.get("/audit/reveals")
    said = words(listed)
    assert REASON in said and "C-331" in said and reading.officer in said
    assert QUESTION not in listed.text and ANSWER_QUOTE not in listed.text
    assert reading.decide("approved").status_code == 303
    assert "The officer may read it now" in words(reading.decider.get("/audit/reveals?said=approved"))

    assert "You may read it until" in words(reading.browser.get(reading.page))
    for _ in range(2):
        shown = words(reading.read())
        assert QUESTION in shown and ANSWER_QUOTE in shown and "Shown to you alone until" in shown
    assert QUESTION not in reading.browser.get(reading.page).text  # opening the page alone shows nothing

    Reveal.objects.filter(correlation=reading.correlation).update(expires_at=timezone.now() - timedelta(seconds=1))
    over = reading.read()
    assert over.status_code == 403 and "reveal_ended" in over.text and QUESTION not in over.text
    assert "The time to read this is over" in words(reading.browser.get(reading.page))
    assert acts(before, reading.correlation) == [
        (reading.officer, "reveal.request", "success"),
        (reading.officer, "reveal.view", "refused"),
        (reading.approver, "reveal.approve", "success"),
        (reading.officer, "reveal.view", "success"),
        (reading.officer, "reveal.view", "success"),
        (reading.officer, "reveal.view", "refused"),
    ]
    told = str(evidence_since(before, correlation=reading.correlation))
    assert QUESTION not in told and REASON not in told and "C-331" not in told
    assert reading.ask().status_code == 303  # and it can be asked for again


def test_only_the_officer_who_asked_reads(reading: Reading) -> None:
    reading.allowed()
    others = [
        (reading.session(Role.COMPLIANCE_OFFICER), 403),
        (reading.decider, 404),
        (reading.session(Role.STAFF), 404),
        (reading.session(Role.ADMINISTRATOR), 404),
    ]
    for client, status in others:
        answered = reading.read(client)
        assert answered.status_code == status and QUESTION not in answered.text
    assert QUESTION in reading.read().text


def test_a_refusal_shows_nothing(reading: Reading) -> None:
    before = last_event_id()
    reading.ask()
    assert reading.decide("refused").status_code == 303
    assert reading.read().status_code == 403
    assert "Your request was refused" in words(reading.browser.get(reading.page))
    assert (reading.approver, "reveal.refuse", "success") in acts(before, reading.correlation)


def test_it_is_decided_once(reading: Reading) -> None:
    reading.allowed()
    again = reading.decide("refused", reading.session(Role.CONTENT_APPROVER))
    assert again.status_code == 409 and "already_decided" in again.text
    assert reading.reveal().approved is True


def test_nobody_decides_their_own_request_or_question(desk: Desk, reading: Reading, contracts: str) -> None:
    both = new_person(desk, Role.COMPLIANCE_OFFICER, Role.CONTENT_APPROVER)
    reading.officer, reading.browser = both, reading.stack.enter_context(signed_in(desk, both))
    before = last_event_id()
    reading.ask()
    refused = reading.decide("approved", reading.browser)
    assert refused.status_code == 403 and "own_request" in refused.text
    assert "so someone else must decide" in words(reading.browser.get("/audit/reveals"))
    assert reading.reveal().approved is None
    assert (both, "reveal.approve", "refused") in acts(before, reading.correlation)

    asker = new_person(desk, Role.STAFF, Role.CONTENT_APPROVER)
    search(desk.client(asker), QUESTION)
    (intent,) = [e for e in evidence_since(before, action="search.ask") if e["agent"]["name"] == asker]
    reading.correlation = uuid.UUID(intent["correlation"])
    reading.ask()
    with signed_in(desk, asker) as client:
        refused = reading.decide("approved", client)
    assert refused.status_code == 403 and "own_request" in refused.text
    assert reading.decide("approved").status_code == 303


@pytest.mark.parametrize("form", [{"reason": "  "}, {"reason": "x" * 501}, {"reference": "x" * 101}])
def test_a_request_needs_a_reason(reading: Reading, form: dict[str, str]) -> None:
    refused = reading.ask(**form)
    assert refused.status_code == 422 and 'role="alert"' in refused.text
    assert not Reveal.objects.filter(correlation=reading.correlation).exists()


def test_asking_twice_is_one_request(reading: Reading) -> None:
    reading.ask()
    reading.ask(reason="Another reason")
    assert reading.reveal().reason == REASON
    reading.decide("approved")
    reading.ask()
    assert Reveal.objects.filter(correlation=reading.correlation).count() == 1


def test_the_password_is_asked_again(reading: Reading) -> None:
    from django.contrib.sessions.backends.base import SessionBase

    from appliance.accounts.models import Session
    from appliance.accounts.session_store import SessionStore
    from appliance.accounts.sessions import PROVED_AT

    def forget(name: str) -> None:
        for row in Session.objects.filter(user__username=name):
            kept: SessionBase = SessionStore(row.session_key)
            kept[PROVED_AT] = 0
            kept.save()

    forget(reading.officer)
    asked = reading.ask()
    assert asked.status_code == 403 and "Enter your password again" in asked.text
    assert not Reveal.objects.filter(correlation=reading.correlation).exists()
    password = reading.desk.room.passwords[reading.officer]
    assert reading.ask(current_password=password).status_code == 303
    forget(reading.approver)
    assert "Enter your password again" in reading.decide("approved").text
    assert reading.reveal().approved is None


def test_pages_are_not_there_for_others(reading: Reading) -> None:
    reading.ask()
    staff = reading.session(Role.STAFF)
    for client in (staff, reading.decider):
        assert client.get(reading.page).status_code == 404
        assert send(client, f"{reading.page}/ask", reason=REASON).status_code == 404
    assert staff.get("/audit/reveals").status_code == 404
    assert reading.decide("approved", staff).status_code == 404
    assert reading.decide("approved", reading.browser).status_code == 404  # an officer is no approver
    assert "Nothing waits" not in words(reading.browser.get("/audit/reveals"))


def test_what_does_not_exist(reading: Reading) -> None:
    for client, address in ((reading.browser, "/audit/content"), (reading.decider, "/audit/reveals")):
        assert send(client, f"{address}/{uuid.uuid4()}", decision="approved").status_code in (404, 405)
    unknown = f"/audit/content/{uuid.uuid4()}"
    assert reading.browser.get(unknown).status_code == 404
    drawer = reading.browser.get(unknown, headers={"HX-Request": "true"})
    assert drawer.status_code == 200 and "No text was kept" in drawer.text
    assert send(reading.browser, f"{unknown}/ask", reason=REASON).status_code == 404
    assert reading.decider.get("/audit/reveals").status_code == 200
    reading.ask()
    wrong = reading.decide("perhaps")
    assert wrong.status_code == 400 and reading.reveal().approved is None


def test_an_erased_text_says_so(reading: Reading) -> None:
    reading.allowed()
    content.erase(reading.correlation)
    shown = words(reading.read())
    assert "This text was erased on" in shown and QUESTION not in shown


def test_a_text_that_was_changed_is_not_shown(reading: Reading, django_room: Room) -> None:
    reading.allowed()
    before = last_event_id()
    with as_owner(django_room) as owner:
        owner.execute("ALTER TABLE audit_content DISABLE TRIGGER audit_content_only_erased")
        try:
            Content.objects.filter(correlation=reading.correlation, kind="answer").update(salt=b"\x00" * 16)
        finally:
            owner.execute("ALTER TABLE audit_content ENABLE TRIGGER audit_content_only_erased")
    refused = reading.read()
    assert refused.status_code == 500 and "content_damaged" in refused.text and QUESTION not in refused.text
    assert acts(before, reading.correlation)[-1] == (reading.officer, "reveal.view", "failed")


def test_without_a_record_nothing_is_read_or_decided(reading: Reading, django_room: Room) -> None:
    reading.ask()
    with as_owner(django_room) as owner:
        for act in ("decide", "read"):
            owner.execute("REVOKE INSERT ON audit_auditevent FROM reading_room_app")
            try:
                refused = reading.decide("approved") if act == "decide" else reading.read()
            finally:
                owner.execute("GRANT INSERT ON audit_auditevent TO reading_room_app")
            assert refused.status_code == 503 and "audit_unavailable" in refused.text
            assert QUESTION not in refused.text
            if act == "decide":
                assert reading.reveal().approved is None
                assert reading.decide("approved").status_code == 303
    assert QUESTION in reading.read().text


def test_the_database_knows_the_rule_too(reading: Reading, django_room: Room) -> None:
    def seen(direct: psycopg.Connection[Any], name: str, table: str = "audit_content") -> int:
        with direct.transaction():
            direct.execute("SELECT reading_room_enter(%s, NULL)", [reading.pk(name)])
            row = direct.execute(
                f"SELECT count(*) FROM {table} WHERE correlation = %s",  # type: ignore[arg-type,unused-ignore]
                [reading.correlation],
            ).fetchone()
        assert row is not None
        return int(row[0])

    people = (reading.officer, reading.approver, "cora", "alice")
    with psycopg.connect(django_room.environment["APPLIANCE_DATABASE_URL"], autocommit=True) as direct:
        reading.ask()
        assert [seen(direct, name) for name in people] == [0, 0, 0, 0]
        assert [seen(direct, name, "audit_reveal") for name in people] == [1, 1, 0, 0]
        reading.decide("approved")
        assert [seen(direct, name) for name in people] == [2, 0, 0, 0]
        Reveal.objects.filter(correlation=reading.correlation).update(expires_at=timezone.now())
        assert [seen(direct, name) for name in people] == [0, 0, 0, 0]


def test_the_database_lets_nobody_allow_themselves(reading: Reading) -> None:
    officer, hour = reading.pk(reading.officer), timezone.now() + timedelta(hours=1)
    reading.ask()
    mine = Reveal.objects.filter(pk=reading.reveal().pk)
    with acting_as(officer):
        assert mine.update(approved=True, decided_by=officer, decided_at=timezone.now(), expires_at=hour) == 0
        for forged in ({"approved": True, "decided_by": reading.pk(reading.approver)}, {"requested_by": uuid.uuid4()}):
            with pytest.raises(DatabaseError), transaction.atomic():
                Reveal.objects.create(
                    **{"correlation": reading.correlation, "reason": "x", "requested_by": officer, "expires_at": hour}
                    | forged
                )
    with acting_as(reading.pk("alice")), pytest.raises(DatabaseError), transaction.atomic():
        Reveal.objects.create(correlation=reading.correlation, reason="x", requested_by=reading.pk("alice"))
    with acting_as(reading.pk(reading.approver)), pytest.raises(DatabaseError), transaction.atomic():
        mine.update(approved=True, decided_by=officer, expires_at=hour)  # in somebody else's name
    with pytest.raises(DatabaseError), transaction.atomic():
        mine.delete()


def test_the_time_is_a_setting(reading: Reading) -> None:
    reading.ask()
    approver = reading.pk(reading.approver)
    with override_settings(REVEAL_S=120), acting_as(approver):
        decided = reveals.do_decide(
            reading.reveal().pk, approved=True, by=approver, actor=reveals.Actor(user_id=approver, name="x")
        )
    assert decided.expires_at is not None and decided.decided_at is not None
    assert decided.expires_at - decided.decided_at == timedelta(seconds=120)
