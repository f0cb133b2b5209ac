"""Listing sessions and ending them. What was begun in one stops within two seconds of its end."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from appliance.accounts.models import Role, Session, User
from appliance.accounts.session_store import end
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import NotFound

_BROWSERS = (("Edg/", "Edge"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def sessions_of(person: User) -> QuerySet[Session]:
    """The sessions of a person that have not ended, latest seen first."""
    now = timezone.now()
    return Session.objects.filter(
        user=person,
        expire_date__gt=now,
        seen_at__gt=now - timedelta(seconds=settings.SESSION_IDLE_S),
        started_at__gt=now - timedelta(seconds=settings.SESSION_ABSOLUTE_S),
    ).order_by("-seen_at")


def browser_name(user_agent: str) -> str:
    """A browser in the words people use, as far as it says what it is."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or re.split(r"[ /]", user_agent)[0][:40] or "Unknown browser"


def do_end_session(person: User, session_id: uuid.UUID, *, actor: Actor) -> None:
    """Ends one session of `person`. Raises NotFound for one that is not theirs or has ended."""
    with transaction.atomic():
        if not end(Session.objects.filter(user=person, id=session_id)):
            raise NotFound()
        _record(person, "session.revoke", actor, Entity("session", str(session_id)))


def do_end_sessions(person: User, *, keep: str = "", actor: Actor) -> int:
    """Ends all sessions of `person` but the one named by `keep`; how many. For sign-out everywhere, and leavers."""
    with transaction.atomic():
        sessions = Session.objects.filter(user=person, expire_date__gt=timezone.now())
        if keep:
            sessions = sessions.exclude(id=uuid.UUID(keep))
        ids = list(sessions.values_list("id", flat=True))
        end(Session.objects.filter(id__in=ids))
        if ids:
            _record(person, "session.revoke", actor, *(Entity("session", str(pk)) for pk in ids))
    return len(ids)


def access_person(administrator: User, person_id: uuid.UUID) -> User:
    """Anybody's account, for an administrator. Raises NotFound."""
    person = User.objects.filter(pk=person_id).first() if administrator.has_role(Role.ADMINISTRATOR) else None
    if person is None:
        raise NotFound()
    return person


def _record(person: User, action: str, actor: Actor, *entities: Entity) -> None:
    about = (Entity("user", str(person.pk)), *entities)
    record(Event(EventType.SIGN_OUT, action, entities=about), actor=actor)
