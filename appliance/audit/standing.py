"""How far the seal is behind, and what that means: an alert after a minute, reading only after ten."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from appliance.lib.errors import AuditUnsealed
from appliance.lib.failures import respond
from appliance.lib.principal import acting_as

ALERT_AFTER_S = 60.0
_LOOK_EVERY_S = 5.0

_STANDING = """
WITH head AS (
    SELECT c.size, c.signed_at,
           CASE c.cluster WHEN (SELECT system_identifier::text FROM pg_control_system()) THEN c.horizon ELSE 0 END
               AS since
    FROM audit_checkpoint c ORDER BY c.size DESC LIMIT 1
)
SELECT (SELECT size FROM head), (SELECT signed_at FROM head), (
    SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float FROM audit_auditevent e
    WHERE e.xid >= coalesce((SELECT since FROM head), 0)
      AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id)
    ORDER BY e.xid, e.id LIMIT 1
)
"""
#: What reads, signs in or out, or looks at the audit, though it posts.
_ALWAYS = ("/sign-in", "/sign-out", "/sessions", "/audit", "/theme", "/api/v1/search", "/api/v1/find")


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest head (None before the first), and how long the oldest event without a seal has waited, in seconds."""

    sealed_size: int | None
    signed_at: datetime | None
    behind_s: float

    @property
    def is_late(self) -> bool:
        """Whether somebody has to be told."""
        return self.behind_s >= ALERT_AFTER_S

    @property
    def is_read_only(self) -> bool:
        """Whether nothing may be asked or changed until the sealer has caught up."""
        return self.behind_s >= settings.SEAL_READ_ONLY_AFTER_S


def standing() -> Standing:
    """As it is now. Raises a database error."""
    with acting_as(None), connection.cursor() as cursor:
        cursor.execute(_STANDING)
        size, signed_at, behind_s = cursor.fetchone()
    return Standing(size, signed_at, max(0.0, behind_s or 0.0))


_lock = threading.Lock()
_seen: tuple[float, Standing] | None = None


def recent_standing() -> Standing:
    """As it was at most five seconds ago."""
    global _seen
    with _lock:
        if _seen is None or time.monotonic() - _seen[0] > _LOOK_EVERY_S:
            _seen = (time.monotonic(), standing())
        return _seen[1]


class SealMiddleware(MiddlewareMixin):
    """Refuses what asks or changes while the seal is too far behind."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if request.method in ("GET", "HEAD", "OPTIONS") or request.path.startswith(_ALWAYS):
            return None
        return respond(request, AuditUnsealed()) if recent_standing().is_read_only else None
