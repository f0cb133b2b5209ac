"""Intents without an outcome: the process that should have recorded it was killed. They are closed as cut off."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import connection, transaction

from appliance.audit.models import EventType, Outcome
from appliance.audit.record import SYSTEM, Entity, Event, record

_BATCH = 500
#: Of a day: what was not closed within it never will be looked for again. Questions asked on the page have a row of
#: their own, which says whether somebody still writes the answer: `chat.sweep` closes those.
_ORPHANS = """
SELECT i.correlation, i.action, i.uid FROM audit_auditevent AS i
WHERE i.type = 'intent' AND i.correlation IS NOT NULL
  AND i.recorded_at BETWEEN now() - interval '1 day' AND now() - %(after_s)s * interval '1 second'
  AND NOT EXISTS (SELECT FROM audit_auditevent AS o WHERE o.correlation = i.correlation AND o.type = 'outcome')
  AND NOT EXISTS (SELECT FROM audit_auditentity AS e WHERE e.event_id = i.id AND e.kind = 'conversation')
ORDER BY i.id LIMIT %(limit)s
"""
_LOCK = 5_823_641_908


def do_close(*, after_s: float | None = None) -> int:
    """Records the missing outcomes of intents older than `after_s` seconds (default: the setting). How many."""
    after_s = settings.AUDIT_ORPHAN_AFTER_S if after_s is None else after_s
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])  # two at once would each record one
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(_ORPHANS, {"after_s": after_s, "limit": _BATCH})
        orphans: list[tuple[uuid.UUID, str, uuid.UUID]] = cursor.fetchall()
        for correlation, action, uid in orphans:
            finish = f"{action.partition('.')[0]}.finish"
            entities = (Entity("event", str(uid)),)
            outcome = Event(EventType.OUTCOME, finish, Outcome.ABORTED, correlation=correlation, entities=entities)
            record(outcome, actor=SYSTEM)
    return len(orphans)
