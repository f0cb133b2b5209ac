"""/api/v1/tokens: the caller's own tokens. Making one needs a signed-in browser and the password given lately."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from appliance.accounts.actions import do_issue_token, do_revoke_token
from appliance.accounts.models import ApiToken
from appliance.accounts.reauthentication import require_fresh
from appliance.accounts.sessions import actor_of, current_user
from appliance.documents.access import access_collection, as_uuid

router = Router(tags=["tokens"])

ScopeName = Literal["chat", "search", "upload", "audit"]


class TokenIn(Schema):
    """A new token. Without `collections` it reaches all that its person may see."""

    name: str = Field(min_length=1, max_length=100, pattern=r"\S")
    days: int = Field(ge=1, le=366)
    scopes: list[ScopeName] = Field(min_length=1, max_length=4)
    collections: list[str] | None = Field(default=None, min_length=1, max_length=100)


class TokenOut(Schema):
    """A token without its secret. `used_at` is exact to the minute."""

    id: uuid.UUID
    name: str
    prefix: str
    scopes: list[str]
    collections: list[uuid.UUID] | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None


class NewTokenOut(TokenOut):
    """A token with its secret, this once."""

    token: str


@router.get("", response=list[TokenOut])
def list_tokens(request: HttpRequest) -> Any:
    """The caller's tokens, newest first; at most 500."""
    return [_token(token) for token in tokens_of(request)[:500]]


@router.post("", response={201: NewTokenOut})
def make_token(request: HttpRequest, body: TokenIn) -> Any:
    """Makes a token. Its secret is in this answer and nowhere else."""
    require_fresh(request)
    user = current_user(request)
    only = None if body.collections is None else [access_collection(user, pk).pk for pk in body.collections]
    token, secret = do_issue_token(
        user.username, name=body.name, days=body.days, scopes=body.scopes, collections=only, actor=actor_of(request)
    )
    return 201, _token(token) | {"token": secret}


@router.delete("/{token_id}", response={204: None})
def revoke_token(request: HttpRequest, token_id: str) -> Any:
    """Ends a token of the caller's at once."""
    do_revoke_token(current_user(request), as_uuid(token_id), actor=actor_of(request))
    return 204, None


def tokens_of(request: HttpRequest) -> Any:
    """The caller's tokens, newest first."""
    return ApiToken.objects.filter(user=current_user(request)).order_by("-created_at")


def _token(token: ApiToken) -> dict[str, Any]:
    names = ("id", "name", "prefix", "scopes", "collections", "created_at", "expires_at", "revoked_at", "used_at")
    return {name: getattr(token, name) for name in names}
