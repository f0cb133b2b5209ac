"""The only writer of the audit. Nothing else inserts into its tables."""

from __future__ import annotations

import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.db import Error as DatabaseError
from django.utils.crypto import salted_hmac

from appliance.audit.models import EventType, Outcome
from appliance.audit.tree import leaf_hash
from appliance.lib.errors import AuditUnavailable
from appliance.lib.guarded.prepared import run_prepared
from appliance.lib.place import current_place
from appliance.lib.request_id import current_request_id

_BOOT_ID = uuid.uuid4().hex  # with the monotonic counter: orders events of one process even if the clock is set back
_HOST = platform.node()

_INSERT_EVENT = """
INSERT INTO audit_auditevent
    (uid, recorded_at, type, action, outcome, actor_id, actor_name, correlation, canonical, leaf_hash)
VALUES (%(uid)s, %(recorded_at)s, %(type)s, %(action)s, %(outcome)s, %(actor_id)s, %(actor_name)s, %(correlation)s,
        %(canonical)s, %(leaf_hash)s)
"""
_INSERT_ALONE = f"{_INSERT_EVENT} RETURNING id"
_ENTITY_COLUMNS = ("kind", "object_id", "version", "page", "start", "end")
INSERT_WITH_ENTITIES = f"""
WITH event AS ({_INSERT_EVENT} RETURNING id), entities AS (
    INSERT INTO audit_auditentity (event_id, kind, object_id, version, page, start, "end")
    SELECT event.id, e.* FROM event, unnest(%(e_kind)s::text[], %(e_object_id)s::text[], %(e_version)s::int[],
        %(e_page)s::int[], %(e_start)s::int[], %(e_end)s::int[]) AS e
)
SELECT id FROM event
"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, and through what. Ids and hashes only; `name` is the account name, not the person's."""

    user_id: uuid.UUID | None = None
    name: str = ""
    session: str = ""  # the session's public id, never its key
    token: str = ""  # the token's public prefix
    address: str = ""


#: The appliance itself: workers, sweepers, commands run by an administrator on the machine.
SYSTEM = Actor(name="system")


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing an event is about. `start` and `end` are code-point offsets in the version's text."""

    kind: str
    object_id: str
    version: int | None = None
    page: int | None = None
    start: int | None = None
    end: int | None = None

    def as_dict(self) -> dict[str, Any]:
        pairs = {"kind": self.kind, "id": self.object_id, "version": self.version, "page": self.page}
        pairs |= {"start": self.start, "end": self.end}
        return {key: value for key, value in pairs.items() if value is not None}


def asked_for(kind: str, ids: Iterable[uuid.UUID | str]) -> tuple[Entity, ...]:
    """The things of `kind` that somebody named by id. What is no id names nothing, and is not kept: it may be text."""
    found = []
    for given in ids:
        try:
            found.append(Entity(kind, str(uuid.UUID(str(given)))))
        except ValueError:
            continue
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be recorded. `detail` holds counts, codes and hashes, never a question, answer or passage."""

    type: EventType
    action: str
    outcome: Outcome = Outcome.SUCCESS
    correlation: uuid.UUID | None = None
    entities: tuple[Entity, ...] = ()
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event that was appended: its key in the table, its id, and when."""

    pk: int
    uid: uuid.UUID
    recorded_at: datetime


def canonical_bytes(evidence: dict[str, Any]) -> bytes:
    """RFC 8785 for what an event holds: texts, whole numbers below 2**53, truth values, null, lists, ASCII names.

    Of that, Python's own writer with sorted names gives exactly these bytes, ten times as fast as a general one.
    Raises ValueError for anything else.
    """
    _require_plain(evidence)
    return json.dumps(evidence, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def _require_plain(value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not (isinstance(name, str) and name.isascii()):
                raise ValueError(f"{name!r} is no name for evidence")
            _require_plain(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _require_plain(inner)
    elif isinstance(value, int):
        if abs(value) >= 2**53:
            raise ValueError("a number this large is written as text")
    elif not (value is None or isinstance(value, str)):
        raise ValueError(f"{type(value).__name__} is nothing that evidence holds")


def text_digest(text: str) -> str:
    """What stands for a text in the audit: keyed with the appliance's own secret, so that nobody can try texts out."""
    return salted_hmac("appliance.audit", text, algorithm="sha256").hexdigest()


#: Asks under which exceptional access a person acts now, for an event of a type: ids of broken glass.
Marker = Callable[[uuid.UUID, EventType], tuple[str, ...]]
_markers: list[Marker] = []


def mark_events_with(marker: Marker) -> None:
    """Has every event of a person marked with what `marker` says of them. Called once, when its app is ready."""
    _markers.append(marker)


def _marked(event: Event, actor: Actor) -> Event:
    if actor.user_id is None:
        return event
    marks = [mark for marker in _markers for mark in marker(actor.user_id, event.type)]
    if not marks:
        return event
    entities = (*event.entities, *(Entity("break_glass", mark) for mark in marks))
    return replace(event, entities=entities, detail=event.detail | {"break_glass": ", ".join(marks)})


def record(event: Event, *, actor: Actor) -> Recorded:
    """Appends one event, in the caller's transaction when there is one, else in its own.

    Raises AuditUnavailable when the append fails for any reason: the caller must then not go on. Inside a
    transaction the whole transaction is lost with it, which is the point.
    """
    uid, recorded_at = uuid.uuid4(), datetime.now(UTC)
    try:
        event = _marked(event, actor)
        evidence = _evidence(uid, recorded_at, event, actor)
        canonical = canonical_bytes(evidence)
        parameters = {
            "uid": uid,
            "recorded_at": recorded_at,
            "type": str(event.type),
            "action": event.action,
            "outcome": str(event.outcome),
            "actor_id": actor.user_id,
            "actor_name": actor.name[:150],
            "correlation": event.correlation,
            "canonical": canonical,
            "leaf_hash": leaf_hash(canonical),
        }
        pk = _append(parameters, event.entities)
    except DatabaseError as error:
        raise AuditUnavailable() from error
    return Recorded(pk, uid, recorded_at)


def _append(parameters: dict[str, Any], entities: tuple[Entity, ...]) -> int:
    """One statement for the event and what it is about: one way there and back, complete or not at all."""
    sql = _INSERT_ALONE
    if entities:
        sql = INSERT_WITH_ENTITIES
        parameters |= {f"e_{name}": [getattr(entity, name) for entity in entities] for name in _ENTITY_COLUMNS}
    return int(run_prepared(sql, parameters)[0][0])


def _evidence(uid: uuid.UUID, recorded_at: datetime, event: Event, actor: Actor) -> dict[str, Any]:
    return {
        "v": 1,
        "id": str(uid),
        "recorded": recorded_at.isoformat(timespec="microseconds"),
        "boot": _BOOT_ID,
        "monotonic": str(time.monotonic_ns()),  # a string: RFC 8785 numbers are doubles
        "observer": {"host": _HOST, "process": os.getpid(), "place": current_place()},
        "type": str(event.type),
        "action": event.action,
        "outcome": str(event.outcome),
        "agent": {
            "user": str(actor.user_id) if actor.user_id else None,
            "name": actor.name,
            "session": actor.session,
            "token": actor.token,
            "address": actor.address,
        },
        "request": current_request_id(),
        "correlation": str(event.correlation) if event.correlation else None,
        "entities": [entity.as_dict() for entity in event.entities],
        "detail": event.detail,
    }
