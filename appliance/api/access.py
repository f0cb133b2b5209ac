"""/api/v1: rules on collections and on documents. Views parse, call, render."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from appliance.accounts.models import Approval
from appliance.accounts.sessions import actor_of, current_user
from appliance.api import schemas
from appliance.documents.grants import actions
from appliance.documents.models import Collection, Document, Grant
from appliance.lib.errors import BadRequest

router = Router(tags=["access"])


class RuleOut(schemas.GrantOut):
    """A rule as its managers see it. `compiled_from` is "wall" or "break_glass" for one that nobody made by itself."""

    starts_at: datetime | None
    ends_at: datetime | None
    reason: str
    created_at: datetime
    created_by: str | None
    compiled_from: str | None


class WaitingOut(Schema):
    """The change would benefit the caller: it waits for a second person."""

    approval: uuid.UUID
    status: str = "waiting"
    summary: str


@router.get("/collections/{collection_id}/grants", response=list[RuleOut])
def list_collection_grants(request: HttpRequest, collection_id: str) -> Any:
    """Every rule on a collection that the caller manages."""
    return _rules(actions.managed_target(current_user(request), collection_id=collection_id))


@router.post("/collections/{collection_id}/grants", response={201: schemas.GrantOut, 202: WaitingOut})
def add_collection_grant(request: HttpRequest, collection_id: str, body: schemas.GrantIn) -> Any:
    """Adds one rule to a collection the caller manages; 202 when it would let the caller in and so must be approved."""
    return _added(request, actions.managed_target(current_user(request), collection_id=collection_id), body)


@router.delete("/collections/{collection_id}/grants/{grant_id}", response={204: None, 202: WaitingOut})
def remove_collection_grant(request: HttpRequest, collection_id: str, grant_id: str) -> Any:
    """Takes one rule away."""
    return _removed(request, actions.managed_target(current_user(request), collection_id=collection_id), grant_id)


@router.get("/documents/{document_id}/grants", response=list[RuleOut])
def list_document_grants(request: HttpRequest, document_id: str) -> Any:
    """Every rule on one document in a collection that the caller manages; not those of its collection."""
    return _rules(actions.managed_target(current_user(request), document_id=document_id))


@router.post("/documents/{document_id}/grants", response={201: schemas.GrantOut, 202: WaitingOut})
def add_document_grant(request: HttpRequest, document_id: str, body: schemas.GrantIn) -> Any:
    """Adds one rule to a document; 202 when it would let the caller in and so must be approved."""
    return _added(request, actions.managed_target(current_user(request), document_id=document_id), body)


@router.delete("/documents/{document_id}/grants/{grant_id}", response={204: None, 202: WaitingOut})
def remove_document_grant(request: HttpRequest, document_id: str, grant_id: str) -> Any:
    """Takes one rule away."""
    return _removed(request, actions.managed_target(current_user(request), document_id=document_id), grant_id)


def _added(request: HttpRequest, target: Collection | Document, body: schemas.GrantIn) -> Any:
    if (body.user is None) == (body.group is None):
        raise BadRequest("Name one user or one group.", code="invalid_request")
    user, group = actions.principal_named(user=body.user or "", group=body.group or "")
    wanted = actions.Wanted(user, group, body.role, body.effect, body.starts_at, body.ends_at, body.reason)
    made = actions.do_add_grant(target, wanted, acting_user=current_user(request), actor=actor_of(request))
    return (202, _waiting(made)) if isinstance(made, Approval) else (201, _rule(made))


def _removed(request: HttpRequest, target: Collection | Document, grant_id: str) -> Any:
    waits = actions.do_remove_grant(target, grant_id, acting_user=current_user(request), actor=actor_of(request))
    return (202, _waiting(waits)) if waits else (204, None)


def _waiting(approval: Approval) -> dict[str, Any]:
    return {"approval": approval.pk, "status": "waiting", "summary": approval.summary}


def _rules(target: Collection | Document) -> list[dict[str, Any]]:
    return [_rule(grant) for grant in actions.grants_on(target)]


def _rule(grant: Grant) -> dict[str, Any]:
    return {
        "id": grant.pk,
        "user": grant.user.username if grant.user else None,
        "group": grant.group.name if grant.group else None,
        "role": grant.role,
        "effect": grant.effect,
        "starts_at": grant.starts_at,
        "ends_at": grant.ends_at,
        "reason": grant.reason,
        "created_at": grant.created_at,
        "created_by": grant.created_by.username if grant.created_by else None,
        "compiled_from": "wall" if grant.wall_id else "break_glass" if grant.break_glass_id else None,
    }
