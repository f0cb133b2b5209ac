"""What is known of the directory itself: when it last answered, and what the last sync did."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from appliance.accounts.models import DirectoryState, Source, User


def reached() -> None:
    """The directory answered just now."""
    DirectoryState.objects.update_or_create(pk=1, defaults={"reached_at": Now()})


def not_reached(cause: str) -> None:
    """A sync could not reach it, and why. The next sync that does clears this."""
    DirectoryState.objects.update_or_create(pk=1, defaults={"problem": cause[:500]})


def synced(report: dict[str, Any], *, problem: str = "") -> None:
    """A sync ended. `report` is what it did or would not do."""
    DirectoryState.objects.update_or_create(
        pk=1, defaults={"reached_at": Now(), "synced_at": Now(), "report": report, "problem": problem[:500]}
    )


def current() -> DirectoryState | None:
    """What is known, None before the first contact."""
    return DirectoryState.objects.filter(pk=1).first()


def vouches_for(user: User) -> bool:
    """Whether what the directory last said of a person still counts: local people need no directory, its own people
    one that answered within the grace."""
    if user.source != Source.DIRECTORY:
        return True
    if settings.DIRECTORY is None:
        return False
    state = current()
    if state is None or state.reached_at is None:
        return False
    return bool(timezone.now() - state.reached_at <= timedelta(seconds=settings.DIRECTORY.grace_s))
