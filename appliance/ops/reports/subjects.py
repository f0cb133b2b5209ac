"""All that the audit holds of one person: what they did, and what was done to their account, access and requests."""

from __future__ import annotations

import json
from typing import Any

from appliance.audit.models import AuditEvent
from appliance.ops.audit.names import NAMED, Names, names_in
from appliance.ops.reports.events import concerning
from appliance.ops.reports.model import MAX_EVENTS, Kind, Period, Report, Subject, leaf_of, written

COLUMNS = (
    ("date", "Date"),
    ("part", "Part in it"),
    ("by", "By"),
    ("type", "Event"),
    ("act", "Act"),
    ("result", "Result"),
    ("about", "About"),
    ("address", "From"),
    ("session", "Session"),
    ("token", "Token"),
    ("event", "Event’s number"),
    ("leaf", "Place in the sealed log"),
)
_MOST_NAMED = 20


def subject_access(subject: Subject, period: Period, *, limit: int = MAX_EVENTS) -> Report:
    """The report, oldest first."""
    found = concerning(subject, period, limit=limit)
    names = names_in(found.events, [entity for event in found.events for entity in event.entities.all()])
    rows = [_row(event, subject, names) for event in found.events]
    return Report(Kind.SUBJECT, subject, period, COLUMNS, rows, found.events, names, found.truncated)


def _row(event: AuditEvent, subject: Subject, names: Names) -> dict[str, Any]:
    acted = event.actor_id == subject.person
    agent = json.loads(bytes(event.canonical))["agent"] if acted else {}  # of others: not from where they came
    about = list(dict.fromkeys(names.of(entity) for entity in event.entities.all() if entity.kind in NAMED))
    more = f"; and {len(about) - _MOST_NAMED} more" if len(about) > _MOST_NAMED else ""
    return {
        "date": written(event.recorded_at),
        "part": "Acted" if acted else "Concerned",
        "by": names.actor(event),
        "type": event.get_type_display(),
        "act": event.action,
        "result": event.get_outcome_display(),
        "about": "; ".join(about[:_MOST_NAMED]) + more,
        "address": agent.get("address", ""),
        "session": agent.get("session", ""),
        "token": agent.get("token", ""),
        "event": str(event.uid),
        "leaf": leaf_of(event),
    }
