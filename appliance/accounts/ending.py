"""Ending what people have: sessions, tokens, and through `accounts.standing` answers that are being written."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.db.models.functions import Now

from appliance.accounts import session_store
from appliance.accounts.models import ApiToken, Session, User


def end_access(people: Collection[uuid.UUID]) -> dict[str, int]:
    """Switches these accounts off. Their sessions are gone and their tokens revoked for good: switching an account on
    again revives neither. Returns how many of each there were. Belongs in the transaction that records why."""
    User.objects.filter(pk__in=people).update(is_active=False)
    sessions = session_store.end(Session.objects.filter(user__in=people))
    revoked = ApiToken.objects.filter(user__in=people, revoked_at=None).update(revoked_at=Now())
    return {"sessions": sessions, "tokens": revoked}
