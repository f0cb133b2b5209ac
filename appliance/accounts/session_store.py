"""Sessions as rows that can be listed, named and ended: Django's database store on `accounts.Session`.

The key is a credential; everything outside this module names a session by its public `id`, which changes with the key.
A session that ended stays as a row without content, so that a replayed cookie is told from one made up.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError
from django.utils import timezone

from appliance.accounts.models import Session

#: What the row repeats of the session's content, so that it can be listed.
PUBLIC_ID, STARTED_AT, SEEN_AT, ADDRESS, USER_AGENT = "id", "started_at", "seen_at", "address", "user_agent"
_KEPT_AFTER_END = timedelta(days=30)


class SessionStore(db.SessionStore):
    """Django's store. Saving never brings back a session that was ended meanwhile."""

    @classmethod
    def get_model_class(cls) -> Any:
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        data.setdefault(PUBLIC_ID, str(uuid.uuid4()))
        now = timezone.now().timestamp()
        person = data.get(SESSION_KEY)
        return Session(
            session_key=self._get_or_create_session_key(),  # type: ignore[attr-defined]
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            id=uuid.UUID(data[PUBLIC_ID]),
            user_id=uuid.UUID(person) if person else None,
            started_at=_moment(data.get(STARTED_AT, now)),
            seen_at=_moment(data.get(SEEN_AT, now)),
            address=str(data.get(ADDRESS, ""))[:64],
            user_agent=str(data.get(USER_AGENT, ""))[:200],
        )

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        return await sync_to_async(self.create_model_instance)(data)

    def cycle_key(self) -> None:
        self[PUBLIC_ID] = str(uuid.uuid4())
        super().cycle_key()

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    def save(self, must_create: bool = False) -> None:
        if must_create or self.session_key is None:
            super().save(must_create=must_create)
            return
        row = self.create_model_instance(self._get_session())  # type: ignore[attr-defined]
        fields = ("session_data", "expire_date", "user_id", "started_at", "seen_at", "address", "user_agent")
        alive = Session.objects.filter(session_key=self.session_key, expire_date__gt=timezone.now())
        if not alive.update(**{name: getattr(row, name) for name in fields}):
            raise UpdateError

    async def asave(self, must_create: bool = False) -> None:
        await sync_to_async(self.save)(must_create)

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            end(Session.objects.filter(session_key=key))

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(self.delete)(session_key)

    @classmethod
    def clear_expired(cls) -> None:
        Session.objects.filter(expire_date__lt=timezone.now() - _KEPT_AFTER_END).delete()


def end(sessions: Any) -> int:
    """Ends those of `sessions` (a queryset) that have not ended; how many there were. Their content is erased."""
    now = timezone.now()
    count: int = sessions.filter(expire_date__gt=now).update(expire_date=now, session_data="")
    return count


def alive(public_id: str) -> bool:
    """Whether the session with this public id has not ended. Idle and old ones have, noticed yet or not."""
    try:
        wanted = uuid.UUID(public_id)
    except ValueError:
        return False
    now = timezone.now()
    return Session.objects.filter(
        id=wanted,
        expire_date__gt=now,
        seen_at__gt=now - timedelta(seconds=settings.SESSION_IDLE_S),
        started_at__gt=now - timedelta(seconds=settings.SESSION_ABSOLUTE_S),
    ).exists()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
