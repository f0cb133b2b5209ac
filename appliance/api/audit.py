"""/api/v1/audit: events with their evidence, the signed head, and proofs. For compliance officers; views parse, call,
render. To everybody else there is nothing here."""

from __future__ import annotations

import base64
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field

from appliance.accounts.models import Role, User
from appliance.accounts.sessions import actor_of
from appliance.api.auth import TokenOrSession, authenticate
from appliance.audit import sealed
from appliance.audit.filters import Filter, page_of
from appliance.audit.models import AuditEvent, Checkpoint, EventType, Leaf, Outcome
from appliance.audit.notes import Note
from appliance.audit.record import Entity, Event, asked_for, record
from appliance.lib.errors import NotFound


class OfficersOnly(TokenOrSession):
    """Before anything of the request is read: to others there is no such address. Who tried is recorded."""

    def __call__(self, request: HttpRequest) -> Any:
        user = authenticate(request)
        if not user.has_role(Role.COMPLIANCE_OFFICER):
            detail = {"code": NotFound.code}
            record(Event(EventType.REFUSAL, "audit.rest", Outcome.REFUSED, detail=detail), actor=actor_of(request))
            raise NotFound()
        return user


router = Router(tags=["audit"], auth=OfficersOnly())

Size = Annotated[int, Field(ge=1, lt=2**63)]
Place = Annotated[int, Field(ge=0, lt=2**63)]


class EventsIn(Schema):
    """Which events; everything that is given must hold. `from` is included, `to` is not."""

    person: str = Field(default="", max_length=150, description="account name, or id")
    type: Literal["", *EventType.values] = ""  # type: ignore[valid-type]
    action: str = Field(default="", max_length=60)
    outcome: Literal["", *Outcome.values] = ""  # type: ignore[valid-type]
    document: uuid.UUID | None = None
    start: AwareDatetime | None = Field(default=None, alias="from")
    end: AwareDatetime | None = Field(default=None, alias="to")
    before: Place | None = Field(default=None, description="`next_before` of the page before")
    limit: int = Field(default=50, ge=1, le=500)


class EventOut(Schema):
    """An event. `canonical` are the exact characters that are sealed; `leaf` is its place, null until it is sealed.

    SHA-256 over a zero byte and `canonical` in UTF-8 is `leaf_hash`.
    """

    id: uuid.UUID
    recorded_at: datetime
    leaf: int | None
    leaf_hash: str
    canonical: str


class EventsOut(Schema):
    """A page, newest first. `next_before` is null on the last one."""

    events: list[EventOut]
    next_before: int | None


class HeadOut(Schema):
    """A signed head: `note` is the evidence, the rest is read from it. `root` is hexadecimal."""

    size: int
    root: str
    origin: str
    signed_at: datetime
    keys: list[str]
    note: str


class InclusionOut(Schema):
    """That a leaf is in the tree (RFC 6962, 2.1.1): hashes in base64, from the leaf upwards."""

    leaf: int
    size: int
    leaf_hash: str
    path: list[str]
    checkpoint: HeadOut | None


class ConsistencyOut(Schema):
    """That the log only grew (RFC 6962, 2.1.2): hashes in base64."""

    first: int
    second: int
    path: list[str]
    first_checkpoint: HeadOut | None
    second_checkpoint: HeadOut | None


@router.get("/events", response=EventsOut)
def list_events(request: HttpRequest, asked: Query[EventsIn]) -> Any:
    """Events, newest first, each with the bytes that are sealed."""
    person = _person(asked.person)
    wanted = Filter(
        actors=None if person is None else (person,),
        about=((("document", (str(asked.document),)),),) if asked.document else (),
        type=asked.type,
        action=asked.action,
        outcome=asked.outcome,
        start=asked.start,
        end=asked.end,
    )
    # What was asked for is on the record as ids, codes and times; an account name only as the id it stands for.
    told = {"type": asked.type, "action": asked.action, "outcome": asked.outcome}
    told |= {"from": asked.start.isoformat() if asked.start else "", "to": asked.end.isoformat() if asked.end else ""}
    about = (
        *asked_for("user", [person] if person else []),
        *asked_for("document", [asked.document] if asked.document else []),
    )
    _looked(request, "audit.list", {name: value for name, value in told.items() if value}, about)
    ids = page_of(wanted, before=asked.before, limit=asked.limit + 1)
    shown = ids[: asked.limit]
    found = AuditEvent.objects.in_bulk(shown)
    places = dict(Leaf.objects.filter(event__in=shown).values_list("event_id", "index"))
    return {
        "events": [_event(found[pk], places.get(pk)) for pk in shown if pk in found],
        "next_before": shown[-1] if len(ids) > asked.limit else None,
    }


@router.get("/checkpoint", response=HeadOut)
def newest_checkpoint(request: HttpRequest) -> Any:
    """The newest signed head."""
    head = sealed.newest_head()
    _looked(request, "audit.checkpoint", {"size": head.size})
    return _head(head)


@router.get("/proof", response=InclusionOut)
def prove_inclusion(request: HttpRequest, leaf: Query[Place], size: Query[Size | None] = None) -> Any:
    """That an event is in the tree of `size` leaves, the newest by default."""
    _looked(request, "audit.proof", {"leaf": str(leaf), "size": str(size or "")})
    proof = sealed.include(leaf, size)
    return {
        "leaf": proof.index,
        "size": proof.size,
        "leaf_hash": proof.leaf_hash.hex(),
        "path": [_encoded(hashed) for hashed in proof.path],
        "checkpoint": _head(proof.checkpoint),
    }


@router.get("/consistency", response=ConsistencyOut)
def prove_consistency(request: HttpRequest, first: Query[Size], second: Query[Size | None] = None) -> Any:
    """That the tree of `first` leaves is the beginning of that of `second`, the newest by default."""
    _looked(request, "audit.consistency", {"first": str(first), "second": str(second or "")})
    proof = sealed.connect_heads(first, second)
    return {
        "first": proof.first,
        "second": proof.second,
        "path": [_encoded(hashed) for hashed in proof.path],
        "first_checkpoint": _head(proof.first_checkpoint),
        "second_checkpoint": _head(proof.second_checkpoint),
    }


def _looked(request: HttpRequest, action: str, detail: dict[str, Any], about: tuple[Entity, ...] = ()) -> None:
    record(Event(EventType.REVIEW, action, entities=about, detail=detail), actor=actor_of(request))


def _person(given: str) -> uuid.UUID | None:
    """By id, or by account name. Raises NotFound (`user_not_found`)."""
    name = given.strip()
    if not name:
        return None
    try:
        return uuid.UUID(name)
    except ValueError:
        found = User.objects.filter(username=name.lower()).values_list("pk", flat=True).first()
    if found is None:
        raise NotFound("There is no account with this name.", hint="Check the name.", code="user_not_found")
    return found


def _event(event: AuditEvent, place: int | None) -> dict[str, Any]:
    return {
        "id": event.uid,
        "recorded_at": event.recorded_at,
        "leaf": place,
        "leaf_hash": bytes(event.leaf_hash).hex(),
        "canonical": bytes(event.canonical).decode("utf-8", "replace"),
    }


def _head(head: Checkpoint | None) -> dict[str, Any] | None:
    if head is None:
        return None
    note = Note.parse(head.note)
    return {
        "size": head.size,
        "root": bytes(head.root).hex(),
        "origin": note.text.partition("\n")[0],
        "signed_at": head.signed_at,
        "keys": [f"{each.name}+{each.key_hash.hex()}" for each in note.signatures],
        "note": head.note,
    }


def _encoded(hashed: bytes) -> str:
    return base64.b64encode(hashed).decode()
