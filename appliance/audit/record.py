"""The only writer of the audit. Nothing else inserts into its tables."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import rfc8785
from django.db import Error as DatabaseError
from django.db import transaction

from appliance.audit.models import AuditEntity, AuditEvent, EventType, Outcome
from appliance.lib.errors import AuditUnavailable
from appliance.lib.request_id import current_request_id

_BOOT_ID = uuid.uuid4().hex  # with the monotonic counter: orders events of one process even if the clock is set back
_LEAF_PREFIX = b"\x00"  # RFC 6962, section 2.1


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


def leaf_hash(canonical: bytes) -> bytes:
    """SHA-256 of a leaf of an RFC 6962 tree: 32 bytes."""
    return hashlib.sha256(_LEAF_PREFIX + canonical).digest()


def text_digest(text: str) -> str:
    """A hash that stands for a text in the audit."""
    return hashlib.sha256(text.encode()).hexdigest()


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


def record(event: Event, *, actor: Actor) -> AuditEvent:
    """Appends one event, in the caller's transaction when there is one, else in its own.

    Raises AuditUnavailable when the append fails for any reason: the caller must then not go on. Inside a
    transaction the whole transaction is lost with it, which is the point.
    """
    uid, recorded_at = uuid.uuid4(), datetime.now(UTC)
    try:
        event = _marked(event, actor)
    except DatabaseError as error:
        raise AuditUnavailable() from error
    canonical = rfc8785.dumps(
        {
            "v": 1,
            "id": str(uid),
            "recorded": recorded_at.isoformat(timespec="microseconds"),
            "boot": _BOOT_ID,
            "monotonic": str(time.monotonic_ns()),  # a string: RFC 8785 numbers are doubles
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
    )
    try:
        with transaction.atomic():
            row = AuditEvent.objects.create(
                uid=uid,
                recorded_at=recorded_at,
                type=event.type,
                action=event.action,
                outcome=event.outcome,
                actor_id=actor.user_id,
                actor_name=actor.name[:150],
                correlation=event.correlation,
                canonical=canonical,
                leaf_hash=leaf_hash(canonical),
            )
            AuditEntity.objects.bulk_create(_rows(row, event.entities))
    except DatabaseError as error:
        raise AuditUnavailable() from error
    return row


def _rows(event: AuditEvent, entities: Iterable[Entity]) -> list[AuditEntity]:
    return [
        AuditEntity(
            event=event,
            kind=entity.kind,
            object_id=entity.object_id,
            version=entity.version,
            page=entity.page,
            start=entity.start,
            end=entity.end,
        )
        for entity in entities
    ]
