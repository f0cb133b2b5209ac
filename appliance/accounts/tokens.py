"""API tokens: `rr_` and 256 random bits. The database keeps a hash, so a stolen dump signs nobody in."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.utils import timezone

from appliance.accounts.directory.state import vouches_for
from appliance.accounts.models import ApiToken
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import NotSignedIn

_MARK = "rr_"
_PREFIX_LENGTH = 11
_USE_GRANULARITY = timedelta(minutes=1)


def new_secret() -> str:
    """A fresh token."""
    return _MARK + secrets.token_urlsafe(32)


def prefix(secret: str) -> str:
    """The part that may be shown and logged: 48 of its 256 bits."""
    return secret[:_PREFIX_LENGTH]


def digest(secret: str) -> bytes:
    """What is stored: SHA-256 (the secret is random, so a slow hash would add nothing)."""
    return hashlib.sha256(secret.encode()).digest()


def find(secret: str, *, address: str = "") -> ApiToken:
    """The usable token with this secret and its active person; its use is noted, to the minute.

    Raises NotSignedIn, the same for every cause. That a token which once worked was sent is recorded.
    """
    now = timezone.now()
    token = ApiToken.objects.select_related("user").filter(token_hash=digest(secret)).first()
    if token is None:
        raise _unusable()
    cause = _cause(token, now)
    if cause:
        actor = Actor(token=token.prefix, address=address)
        about = (Entity("user", str(token.user_id)), Entity("token", token.prefix))
        event = Event(EventType.REFUSAL, "token.use", Outcome.REFUSED, entities=about, detail={"cause": cause})
        record(event, actor=actor)
        raise _unusable()
    if token.used_at is None or now - token.used_at > _USE_GRANULARITY:
        ApiToken.objects.filter(pk=token.pk).update(used_at=now)
    return token


def _cause(token: ApiToken, now: datetime) -> str:
    """Why a token cannot be used now; empty when it can."""
    if token.revoked_at:
        return "revoked"
    if not token.usable(now=now):
        return "expired"
    if not token.user.is_active:
        return "account_disabled"
    return "" if vouches_for(token.user) else "directory_silent"


def _unusable() -> NotSignedIn:
    return NotSignedIn("The token is unknown, expired or revoked.")
