"""The list of events: every part of a filter, pages that join, and what one event shows."""

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
from access_forms import new_person
from appliance_desk import Desk, evidence_since, last_event_id, until
from django.db import connection, transaction
from django.utils import timezone

from appliance.accounts.models import Group, Membership, Role, User
from appliance.audit.filters import Filter, statement
from appliance.audit.models import EventType, Leaf, Outcome
from appliance.audit.record import Actor, Entity, Event, Recorded, record
from appliance.documents.models import BreakGlass, Collection, Document

NOTHING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def officer(desk: Desk) -> Iterator[httpx.Client]:
    """cora, signed in."""
    with closing(desk.room.browser_session("cora")) as client:
        yield client


@pytest.fixture(scope="module")
def reader(desk: Desk) -> User:
    """A person of whom nothing is recorded but what a test records."""
    return User.objects.get(username=new_person(desk, Role.STAFF))


@pytest.fixture
def act() -> str:
    """An act that only this test's events are."""
    return f"test.a{uuid.uuid4().hex}"


def happens(act: str, user: User | None = None, type_: EventType = EventType.ACCESS, **more: Any) -> Recorded:
    """Records an event."""
    actor = Actor(user.pk, user.username) if user else Actor()
    return record(Event(type_, act, **more), actor=actor)


def listed(officer: httpx.Client, **asked: Any) -> list[str]:
    """The events on the page, in its order."""
    answered = officer.get("/audit", params=asked)
    assert answered.status_code == 200, answered.text
    return re.findall(r'hx-get="/audit/events/([0-9a-f-]{36})"', answered.text)


def ids(*events: Recorded) -> list[str]:
    return [str(event.uid) for event in events]


def test_by_person_name_number_and_group(officer: httpx.Client, reader: User, act: str) -> None:
    other = User.objects.get(username="alice")
    mine, theirs = happens(act, reader), happens(act, other)
    assert listed(officer, action=act) == ids(theirs, mine)
    assert listed(officer, action=act, person=reader.username) == ids(mine)
    assert listed(officer, action=act, by=reader.pk) == ids(mine)
    group = Group.objects.create(name=f"Readers {uuid.uuid4()}")
    assert listed(officer, action=act, group=group.pk) == []
    Membership.objects.create(user=reader, group=group)
    Membership.objects.create(user=other, group=group)
    assert listed(officer, action=act, group=group.pk) == ids(theirs, mine)
    assert listed(officer, action=act, group=group.pk, by=reader.pk) == ids(mine)


def test_what_a_person_did_and_what_was_done_to_them(officer: httpx.Client, reader: User, act: str) -> None:
    other = User.objects.get(username="alice")
    to_them = happens(act, other, entities=(Entity("user", str(reader.pk)),))
    by_them, both = happens(act, reader), happens(act, reader, entities=(Entity("user", str(reader.pk)),))
    happens(act, other)
    assert listed(officer, action=act, concerns=reader.pk) == ids(both, by_them, to_them)
    assert listed(officer, concerns=reader.pk, by=other.pk, action=act) == ids(to_them)


def test_by_the_appliance_itself_and_by_commands(officer: httpx.Client, act: str) -> None:
    own = record(Event(EventType.SYSTEM, act), actor=Actor(name="system"))
    command = record(Event(EventType.SYSTEM, act), actor=Actor(name="command"))
    happens(act)
    assert listed(officer, action=act, person="system") == ids(own)
    assert listed(officer, action=act, person="command") == ids(command)
    page = officer.get("/audit", params={"action": act}).text
    assert [page.count(f">{who}<") for who in ("The appliance", "A command on the machine", "Not signed in")] == [1] * 3


def test_by_document_and_collection(officer: httpx.Client, reader: User, act: str) -> None:
    document = Document.objects.filter(collection__name="Contracts").order_by("title").first()
    assert document is not None
    place = {"version": 1, "page": 1}
    opened = happens(act, reader, entities=(Entity("document", str(document.pk), **place, start=0, end=9),) * 2)
    granted = happens(act, reader, entities=(Entity("collection", str(document.collection_id)),))
    happens(act, reader, entities=(Entity("document", NOTHING),))
    assert listed(officer, action=act, document=document.pk) == ids(opened)
    assert listed(officer, action=act, document=f"https://room/documents/{document.pk}/v/1?page=2") == ids(opened)
    assert listed(officer, action=act, collection=document.collection_id) == ids(granted, opened)
    assert listed(officer, action=act, collection=document.collection_id, document=document.pk) == ids(opened)
    page = officer.get("/audit", params={"document": str(document.pk), "action": act}).text
    assert f"Document: {document.title}" in unescape(page)


def test_the_documents_of_a_collection_are_told_to_officers_alone(desk: Desk, contracts: str) -> None:
    from appliance.lib.principal import acting_as

    def told(username: str) -> int:
        with acting_as(User.objects.get(username=username).pk), connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM reading_room_documents_of(%s)", [contracts])
            return int(cursor.fetchone()[0])

    assert told("cora") > 0
    assert told("charlie") == told("root") == 0


def test_by_reference_and_under_emergency_access(officer: httpx.Client, reader: User, act: str) -> None:
    now, collection = timezone.now(), Collection.objects.get(name="Contracts")
    reference = f"P-{uuid.uuid4().hex[:8]}"
    broken = BreakGlass.objects.create(
        user=reader, collection=collection, reason="r", reference=reference, ends_at=now, ended_at=now
    )
    under = happens(act, reader, entities=(Entity("break_glass", str(broken.pk)),))
    happens(act, reader)
    before = last_event_id()
    assert listed(officer, action=act, reference=reference.lower()) == ids(under)
    assert listed(officer, action=act, glass="yes") == ids(under)
    assert listed(officer, action=act, reference=f"not {reference}") == []
    told = evidence_since(before, action="audit.list")[0]["detail"]
    assert set(told) == {"action", "reference"} and reference not in str(told)  # a hash of it


def test_by_type_outcome_and_question(officer: httpx.Client, reader: User, act: str) -> None:
    question = uuid.uuid4()
    asked = happens(act, reader, EventType.INTENT, correlation=question)
    ended = happens(act, reader, EventType.OUTCOME, correlation=question, outcome=Outcome.FAILED)
    happens(act, reader, EventType.OUTCOME)
    assert listed(officer, by=reader.pk, action=act, type="intent") == ids(asked)
    assert listed(officer, action=act, outcome="failed") == ids(ended)
    assert listed(officer, question=question) == ids(ended, asked)


def test_by_time_days_are_those_of_the_site(officer: httpx.Client, reader: User, act: str) -> None:
    event = happens(act, reader)
    today = timezone.localdate(event.recorded_at)
    day = timedelta(days=1)
    assert listed(officer, action=act, **{"from": today, "to": today}) == ids(event)
    assert listed(officer, action=act, to=today - day) == []
    assert listed(officer, action=act, **{"from": today + day}) == []
    minute = timezone.localtime(event.recorded_at).replace(second=0, microsecond=0, tzinfo=None)
    found = {"from": minute.isoformat(), "to": (minute + timedelta(minutes=1)).isoformat()}
    assert listed(officer, action=act, by=reader.pk, **found) == ids(event)
    assert listed(officer, action=act, to=minute.isoformat()) == []


@pytest.mark.parametrize("extra", ["plain", "by", "concerns", "group", "document"])
def test_pages_join_while_events_are_added(officer: httpx.Client, reader: User, act: str, extra: str) -> None:
    entities = (Entity("document", NOTHING), Entity("user", str(reader.pk)))
    made = [happens(act, reader, entities=entities) for _ in range(53)]
    group = Group.objects.create(name=f"Pages {uuid.uuid4()}")
    Membership.objects.create(user=reader, group=group)
    Membership.objects.create(user=User.objects.get(username="alice"), group=group)
    values = {"plain": {}, "by": {"by": reader.pk}, "concerns": {"concerns": reader.pk}, "group": {"group": group.pk}}
    asked = {"action": act} | values.get(extra, {"document": NOTHING})
    first = officer.get("/audit", params=asked)
    happens(act, reader, entities=entities)
    older = re.search(r'href="(/audit\?[^"]*before=\d+)">Older', first.text)
    assert older is not None
    second = officer.get(unescape(older[1]))
    found = [re.findall(r'hx-get="/audit/events/([0-9a-f-]{36})"', page.text) for page in (first, second)]
    assert found[0] + found[1] == ids(*reversed(made))
    assert "Older events" not in second.text


WRONG = {
    "person": "nobody has this name",
    "by": "alice",
    "concerns": "x",
    "group": NOTHING,
    "document": "contract.pdf",
    "collection": "Contracts",
    "glass": "maybe",
    "type": "dislosure",
    "outcome": "good",
    "action": "drop table",
    "question": "why",
    "from": "yesterday",
    "to": "2026-02-30",
    "preson": "alice",
    "before": "newest",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_means_nothing_is_said_and_not_left_out(officer: httpx.Client, name: str) -> None:
    answered = officer.get("/audit", params={"type": "access"} | {name: WRONG[name]})
    assert answered.status_code == 400
    assert "filter_refused" in answered.text and 'hx-get="/audit/events/' not in answered.text
    if name != "before":
        assert "Nothing was looked for" in answered.text and f": {WRONG[name]}" in unescape(answered.text)


def test_a_time_that_ends_before_it_begins_is_refused(officer: httpx.Client) -> None:
    answered = officer.get("/audit", params={"from": "2026-11-02", "to": "2026-11-01"})
    assert answered.status_code == 400 and "The time ends before it begins." in answered.text


def test_the_address_holds_the_filter_and_each_chip_one_part_less(officer: httpx.Client, reader: User) -> None:
    tidied = officer.get(f"/audit?type=access&person=&by={reader.pk}&document=")
    assert tidied.status_code == 302
    address = tidied.headers["Location"]
    assert address == f"/audit?by={reader.pk}&type=access"
    page = unescape(officer.get(address).text)
    assert f'href="/audit?type=access" aria-label="Remove the filter: By, {reader}"' in page
    assert f'href="/audit?by={reader.pk}" aria-label="Remove the filter: Event, Page or file opened"' in page


def test_looking_is_recorded_with_ids_before_anything_is_shown(officer: httpx.Client, reader: User, act: str) -> None:
    before = last_event_id()
    listed(officer, person=reader.username, action=act)
    (looked,) = evidence_since(before, action="audit.list")
    assert looked["type"] == "review" and looked["agent"]["name"] == "cora"
    assert looked["entities"] == [{"kind": "user", "id": str(reader.pk)}]
    assert looked["detail"]["action"] == act and reader.username not in str(looked["detail"])


def test_an_event_shows_its_seal_its_change_and_the_ways_on(officer: httpx.Client, reader: User, act: str) -> None:
    question = uuid.uuid4()
    detail = {"before": {"role": "reader", "same": 1}, "after": {"role": "manager", "same": 1}, "count": 3}
    event = happens(act, reader, EventType.GRANT, detail=detail, correlation=question)
    leaf = until(lambda: Leaf.objects.filter(event_id=event.pk).first())
    page = officer.get(f"/audit/events/{event.uid}").text
    assert f"Sealed as number {leaf.index:,}" in page
    assert re.search(r'<th scope="row">role</th><td class="mono">reader</td><td class="mono">manager</td>', page)
    assert '<th scope="row">same</th>' not in page
    assert "<dt>count</dt>" in page and "<dt>before</dt>" not in page
    for way in (f"/audit?concerns={reader.pk}", f"/audit?question={question}", f"/audit/events/{event.uid}"):
        assert f'href="{way}"' in page
    assert f'data-copy-text="{event.uid}"' in page


def test_one_value_before_and_now_is_a_change_too(officer: httpx.Client, act: str) -> None:
    event = happens(act, type_=EventType.SETTING, detail={"before": 2, "now": 1})
    page = officer.get(f"/audit/events/{event.uid}").text
    assert f'<th scope="row">{act}</th><td class="mono">2</td><td class="mono">1</td>' in page


PERSON, DAY = uuid.UUID(int=1), {"start": datetime(2026, 1, 1, tzinfo=UTC), "end": datetime(2026, 1, 2, tzinfo=UTC)}
INDEXES = {
    "audit_by_time": [Filter(**DAY)],
    "audit_by_actor": [Filter(actors=(PERSON,)), Filter(actors=(PERSON, uuid.UUID(int=2)), **DAY)],
    "audit_by_type": [Filter(type="review"), Filter(type="review", **DAY)],
    "audit_by_action": [Filter(action="document.page", **DAY)],
    "audit_by_outcome": [Filter(outcome="refused"), Filter(outcome="failed", **DAY)],
    "audit_by_question": [Filter(question=PERSON)],
    "audit_by_entity": [
        Filter(about=((("document", (NOTHING,)),),)),
        Filter(about=((("collection", (NOTHING,)), ("document", (NOTHING, str(PERSON)))),), actors=(PERSON,), **DAY),
        Filter(concerns=PERSON),
    ],
}


@pytest.mark.parametrize("index", INDEXES)
def test_every_filter_is_answered_from_an_index(django_room: Any, index: str) -> None:
    """Which one is used for a few rows is the planner's affair: that there is one to use is asked here."""
    for wanted in INDEXES[index]:
        sql, parameters = statement(wanted, before=None, limit=51)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {sql}", parameters)
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert index in plan and "Seq Scan on audit_" not in plan, plan
