"""Whether whoever began something may go on: meanwhile a person can be switched off, a session or token ended."""

from __future__ import annotations

from django.utils import timezone

from appliance.accounts.directory.state import vouches_for
from appliance.accounts.models import ApiToken, User
from appliance.accounts.session_store import alive
from appliance.audit.record import Actor


def in_good_standing(actor: Actor) -> bool:
    """Whether the person is active, and the session or token that they came with, if any, can still be used."""
    if actor.user_id is None:
        return False
    user = User.objects.filter(pk=actor.user_id, is_active=True).first()
    if user is None or not vouches_for(user):
        return False
    if not actor.token:
        return not actor.session or alive(actor.session)
    token = ApiToken.objects.filter(prefix=actor.token).first()
    return token is not None and token.usable(now=timezone.now())
