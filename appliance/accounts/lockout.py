"""Locking sign-in after too many wrong passwords, by django-axes: for a name, and for an address.

A name is locked whether or not anybody has it, so that a lock tells nothing. The counts are kept under the name's
digest: what is typed there may be a password. Many people can stand behind one address, so it has a limit of its own.
"""

from __future__ import annotations

from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db import transaction
from django.db.models import Sum
from django.http import HttpRequest
from django.utils import timezone

from appliance.accounts.models import Role, User
from appliance.accounts.sessions import client_address
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record, text_digest
from appliance.lib.errors import NotFound


def name_digest(request: HttpRequest, credentials: dict[str, Any] | None = None) -> str:
    """What stands for the name in the counts."""
    given = (credentials or {}).get("username") or request.POST.get("username", "")
    return text_digest(str(given).strip().lower()[:150])


def address_of(request: HttpRequest) -> str:
    """The address that tries are counted for; behind our own proxy, the one it reports."""
    return client_address(request)


class Handler(AxesDatabaseHandler):  # type: ignore[misc]
    """axes' own, with a limit for addresses that differs from that for names.

    A right password forgets the wrong ones for its own name only: with an account of one's own nobody clears the way
    for guessing others' from the same address.
    """

    def reset_user_attempts(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        count, _ = AccessAttempt.objects.filter(username=name_digest(request, credentials)).delete()
        return int(count)

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        by_name, by_address = (
            attempts.aggregate(sum=Sum("failures_since_start"))["sum"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        )
        if by_address >= settings.SIGN_IN_ADDRESS_LIMIT:
            return max(by_name, settings.SIGN_IN_LIMIT)
        return int(by_name)


def is_locked(username: str) -> bool:
    """Whether sign-in as `username` is locked now."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    tries = AccessAttempt.objects.filter(username=text_digest(username), attempt_time__gte=since)
    return (tries.aggregate(sum=Sum("failures_since_start"))["sum"] or 0) >= settings.SIGN_IN_LIMIT


def do_lift_lockout(person: User, *, acting_user: User | None, actor: Actor) -> int:
    """Forgets the wrong tries for a person's name; how many there were. Administrators only (None: a command)."""
    if acting_user is not None and not acting_user.has_role(Role.ADMINISTRATOR):
        raise NotFound()
    with transaction.atomic():
        tries = AccessAttempt.objects.filter(username=text_digest(person.username))
        count = int(tries.aggregate(sum=Sum("failures_since_start"))["sum"] or 0)
        tries.delete()
        entities = (Entity("user", str(person.pk)),)
        record(Event(EventType.ACCOUNT, "lockout.lift", entities=entities, detail={"tries": count}), actor=actor)
    return count
