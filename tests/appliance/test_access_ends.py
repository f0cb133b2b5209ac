"""Rights that are lost while an answer is written: the text stops, and the outcome says why."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from appliance_desk import QUESTION, Room, evidence_since, last_event_id, until
from django.utils import timezone

from appliance.accounts.models import ApiToken, Group, User
from appliance.documents.models import Collection, Document, Grant


@contextmanager
def standing_still(room: Room) -> Iterator[None]:
    """The model is silent, as a large one is while it reads."""
    room.stack.kill("inference", signal.SIGSTOP)
    try:
        yield
    finally:
        room.stack.kill("inference", signal.SIGCONT)


@pytest.fixture
def reader(django_room: Room) -> Iterator[User]:
    """Someone who may read Contracts, through a group."""
    person = User.objects.create(username=f"reader-{uuid.uuid4().hex[:8]}")
    group = Group.objects.create(name=f"readers-{uuid.uuid4().hex[:8]}")
    person.groups.add(group)
    Grant.objects.create(group=group, collection=Collection.objects.get(name="Contracts"))
    yield person
    Grant.objects.filter(user=person).delete()
    group.delete()
    User.objects.filter(pk=person.pk).update(is_active=False)


def _leaves_the_group(person: User) -> None:
    person.groups.clear()


def _meets_a_wall(person: User) -> None:
    Grant.objects.create(user=person, collection=Collection.objects.get(name="Contracts"), effect="deny")


def _is_kept_from_one_document(person: User) -> None:
    for document in Document.objects.filter(collection__name="Contracts"):
        Grant.objects.create(user=person, document=document, effect="deny")


def _is_switched_off(person: User) -> None:
    User.objects.filter(pk=person.pk).update(is_active=False)


def _loses_the_token(person: User) -> None:
    ApiToken.objects.filter(user=person).update(revoked_at=timezone.now())


LOSSES = [_leaves_the_group, _meets_a_wall, _is_kept_from_one_document, _is_switched_off, _loses_the_token]


@pytest.mark.parametrize("loses", LOSSES, ids=lambda loss: loss.__name__.strip("_"))
def test_an_answer_stops_when_its_reader_loses_the_right(
    django_room: Room, reader: User, loses: Callable[[User], None]
) -> None:
    body: dict[str, Any] = {
        "model": "extractive",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "collections": [],
    }
    headers = {"Authorization": f"Bearer {django_room.token(reader.username)}"}  # type: ignore[attr-defined]
    with httpx.Client(base_url=django_room.url, headers=headers, timeout=60, trust_env=False) as client:
        for _ in range(5):  # a quick answer may be over before the model stands still
            before = last_event_id()
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                assert response.status_code == 200
                lines = response.iter_lines()
                next(lines)
                with standing_still(django_room):
                    if evidence_since(before, type="outcome"):
                        continue
                    loses(reader)
                    began = time.monotonic()
                    rest = list(lines)
                    took = time.monotonic() - began
            if '"finish_reason": "stop"' in "".join(rest):
                continue  # it had been written, only not recorded yet
            break
        else:
            raise AssertionError("the model was too quick five times")
        frames = [json.loads(line[6:]) for line in rest if line.startswith("data: {")]
        assert frames[-1]["error"]["code"] == "access_ended"
        assert not any("content" in choice["delta"] for frame in frames[:-1] for choice in frame.get("choices", []))
        (outcome,) = until(lambda: evidence_since(before, type="outcome"))
        assert (outcome["action"], outcome["outcome"]) == ("answer.finish", "refused")
        assert outcome["detail"]["code"] == "access_ended"
        assert took < 5  # the contract's figure, with nothing else to wait for
