"""Who could read a collection, by the rules as they stand, and who did, by what the audit holds.

A row for each person: the rules that concern them with their periods, and what they were shown of it in the period.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from appliance.accounts.models import Membership, User
from appliance.documents.models import Effect, Grant, GrantRole
from appliance.ops.audit.names import names_in
from appliance.ops.reports.events import shown
from appliance.ops.reports.model import MAX_EVENTS, Kind, Period, Report, Subject, written

COLUMNS = (
    ("person", "Person"),
    ("account", "Account"),
    ("title", "Title"),
    ("active", "Active"),
    ("may", "May now"),
    ("rules", "Through"),
    ("passages", "Passages shown"),
    ("answers", "Answers"),
    ("searches", "Searches"),
    ("opened", "Pages and files opened"),
    ("downloads", "Downloads"),
    ("last", "Last shown"),
)
_RANK = {GrantRole.READER: 0, GrantRole.CONTRIBUTOR: 1, GrantRole.MANAGER: 2}


@dataclass(slots=True)
class _Did:
    """What one person was shown."""

    passages: int = 0
    answers: int = 0
    searches: int = 0
    opened: int = 0
    downloads: int = 0
    last: datetime | None = None


def access_review(subject: Subject, period: Period, *, limit: int = MAX_EVENTS) -> Report:
    """The report, by name."""
    found = shown(subject, period, limit=limit)
    did: dict[uuid.UUID | None, _Did] = defaultdict(_Did)
    for event in found.events:
        mine = did[event.actor_id]
        in_it = [e for e in event.entities.all() if e.kind == "document" and e.object_id in subject.documents]
        mine.passages += sum(entity.start is not None for entity in in_it)
        mine.answers += event.action == "answer.passages"
        mine.searches += event.action in ("search.passages", "find.passages", "document.find")
        mine.opened += event.action in ("document.page", "document.text", "document.chunks")
        mine.downloads += event.action == "document.download"
        mine.last = event.recorded_at
    could = _rules_by_person(subject)
    people = User.objects.filter(pk__in={pk for pk in (*could, *did) if pk}).order_by("display_name", "username")
    rows = [_row(person, could.get(person.pk, []), did.get(person.pk, _Did())) for person in people]
    names = names_in(found.events, [])
    notes = ("Rules are those of today. What was shown is what was shown in the period.",)
    return Report(Kind.ACCESS, subject, period, COLUMNS, rows, found.events, names, found.truncated, notes)


def _rules_by_person(subject: Subject) -> dict[uuid.UUID, list[tuple[Grant, str]]]:
    """person -> their rules on the collection or on a document in it, each with the way it reaches them."""
    on_it = Q(collection=subject.collection) | Q(document__in=[uuid.UUID(pk) for pk in subject.documents])
    grants = list(Grant.objects.filter(on_it).select_related("group", "wall").order_by("created_at"))
    members: dict[uuid.UUID, list[uuid.UUID]] = defaultdict(list)
    groups = {grant.group_id for grant in grants if grant.group_id}
    for group_id, user_id in Membership.objects.filter(group__in=groups).values_list("group_id", "user_id"):
        members[group_id].append(user_id)
    found: dict[uuid.UUID, list[tuple[Grant, str]]] = defaultdict(list)
    for grant in grants:
        if grant.user_id:
            found[grant.user_id].append((grant, "themselves"))
        elif grant.group is not None:
            for user_id in members[grant.group.pk]:
                found[user_id].append((grant, grant.group.name))
    return found


def _row(person: User, rules: list[tuple[Grant, str]], did: _Did) -> dict[str, Any]:
    return {
        "person": str(person),
        "account": person.username,
        "title": person.title,
        "active": "yes" if person.is_active else "no",
        "may": _may(person, [grant for grant, _ in rules if _in_force(grant)]),
        "rules": "; ".join(_in_words(grant, through) for grant, through in rules),
        "passages": did.passages,
        "answers": did.answers,
        "searches": did.searches,
        "opened": did.opened,
        "downloads": did.downloads,
        "last": written(did.last),
    }


def _in_force(grant: Grant) -> bool:
    now = timezone.now()
    return (grant.starts_at is None or grant.starts_at <= now) and (grant.ends_at is None or grant.ends_at > now)


def _may(person: User, grants: list[Grant]) -> str:
    on_all = [grant for grant in grants if grant.collection_id is not None]
    if not person.is_active:
        return "nothing, the account is off"
    if any(grant.effect == Effect.DENY for grant in on_all):
        return "nothing, kept out"
    allowed = [GrantRole(grant.role) for grant in on_all if grant.effect == Effect.ALLOW]
    if allowed:
        best: str = max(allowed, key=lambda role: _RANK[role]).label
        return best.lower()
    if any(grant.effect == Effect.ALLOW for grant in grants):
        return "can read some documents"
    return "nothing"


def _in_words(grant: Grant, through: str) -> str:
    said = "kept out" if grant.effect == Effect.DENY else GrantRole(grant.role).label.lower()
    where = "" if grant.collection_id is not None else " one document"
    by = f"wall {grant.wall}" if grant.wall else "emergency access" if grant.break_glass_id else through
    begins = written(grant.starts_at or grant.created_at)
    ends = f" until {written(grant.ends_at)}" if grant.ends_at else ""
    return f"{by}: {said}{where} from {begins}{ends}"
