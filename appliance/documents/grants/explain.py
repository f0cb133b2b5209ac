"""Why a person sees a document, or does not: each rule that decides, in words, with the way through nested groups."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from appliance.accounts.models import Group, Membership, User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents.models import Document, Effect, Grant, GrantRole
from appliance.documents.querysets import MAX_DEPTH

_MAY = {
    GrantRole.READER: "may read",
    GrantRole.CONTRIBUTOR: "may read and add to",
    GrantRole.MANAGER: "may read and change access to",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that concerns the person and the document. `in_force` False: it is named, and decides nothing."""

    effect: str
    in_force: bool
    words: str

    @property
    def decides(self) -> str:
        """How the page marks it."""
        if not self.in_force:
            return "Does not count now"
        return "Allowed" if self.effect == Effect.ALLOW else "Denied"

    def as_dict(self) -> dict[str, Any]:
        return {"effect": self.effect, "in_force": self.in_force, "words": self.words}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer of the access rule itself, and the rules behind it: those in force first, denials before the rest."""

    allowed: bool
    verdict: str
    rules: list[Rule]

    def as_dict(self) -> dict[str, Any]:
        """As `manage.py access --json` prints it."""
        return {"allowed": self.allowed, "verdict": self.verdict, "rules": [rule.as_dict() for rule in self.rules]}


def do_explain(user: User, document: Document, *, actor: Actor) -> Explanation:
    """`explain`, recorded: it says something of both. The caller may see `document`, or is the machine's own shell."""
    entities = (Entity("document", str(document.pk)), Entity("user", str(user.pk)))
    record(Event(EventType.ACCESS, "access.explain", entities=entities), actor=actor)
    return explain(user, document)


def explain(user: User, document: Document) -> Explanation:
    """Each rule that concerns `user` and `document`: on it, on the files it came out of, on its collection."""
    line = _line_of(document)
    groups = {member.group_id: member for member in Membership.objects.filter(user=user).select_related("group")}
    concerning = (
        Grant.objects.filter(
            Q(user=user) | Q(group_id__in=groups),
            Q(document_id__in=[each.pk for each in line]) | Q(collection_id=document.collection_id),
        )
        .select_related("user", "group", "collection", "document", "created_by", "wall")
        .order_by(F("document").asc(nulls_last=True), "created_at")
    )
    rules = [_in_words(grant, document, user, groups) for grant in concerning]
    rules.sort(key=lambda rule: (not rule.in_force, rule.effect != Effect.DENY))
    allowed = Document.objects.visible_to(user).filter(pk=document.pk).exists()
    return Explanation(allowed, _verdict(user, document, allowed, rules), rules)


def _line_of(document: Document) -> list[Document]:
    """The document and the files it came out of, nearest first."""
    line = [document]
    while line[-1].parent is not None and len(line) <= MAX_DEPTH:
        line.append(line[-1].parent)
    return line


def _verdict(user: User, document: Document, allowed: bool, rules: list[Rule]) -> str:
    if allowed:
        return f"{user} may see {document.title}."
    if not user.is_active:
        why = "their account is switched off"
    elif any(rule.in_force and rule.effect == Effect.DENY for rule in rules):
        why = "a denial beats every permission"
    else:
        why = "no rule in force allows it"
    return f"{user} may not see {document.title}: {why}."


def _in_words(grant: Grant, document: Document, user: User, groups: dict[uuid.UUID, Membership]) -> Rule:
    who = _who(grant, user, groups)
    what = _what(grant, document)
    if grant.wall is not None:
        said = f"wall {grant.wall.name} keeps {who} out of {what}"
    elif grant.effect == Effect.DENY:
        said = f"{who} may not see {what}"
    else:
        said = f"{who} {_MAY[GrantRole(grant.role)]} {what}"
    if grant.break_glass_id:
        said += ", by emergency access"
    by = grant.created_by.username if grant.created_by else "the appliance"
    began = f"since {_moment(grant.starts_at or grant.created_at)}"
    in_force, times = True, began
    now = timezone.now()
    if grant.starts_at is not None and grant.starts_at > now:
        in_force, times = False, f"only from {_moment(grant.starts_at)}"
    elif grant.ends_at is not None and grant.ends_at <= now:
        in_force, times = False, f"ended {_moment(grant.ends_at)}"
    elif grant.ends_at is not None:
        times = f"{began} until {_moment(grant.ends_at)}"
    return Rule(grant.effect, in_force, f"{said}, {times} (by {by}).")


def _moment(moment: datetime) -> str:
    local = timezone.localtime(moment)
    return f"{local.day} {local:%B %Y %H:%M}"


def _who(grant: Grant, user: User, groups: dict[uuid.UUID, Membership]) -> str:
    if grant.group is None:
        return user.username
    member = groups[grant.group.pk]
    if member.direct:
        return f"group {grant.group.name}"
    path = path_to(grant.group, [each.group for each in groups.values() if each.direct])
    via = f" (through {', in '.join(group.name for group in path)})" if path else " (through a group in it)"
    return f"group {grant.group.name}{via}"


def path_to(group: Group, direct: list[Group]) -> list[Group]:
    """The shortest way from one of `direct` groups up to `group`: the groups on it, without `group` itself."""
    ways: list[list[Group]] = [[start] for start in sorted(direct, key=lambda start: start.name)]
    seen = {way[0].pk for way in ways}
    while ways:
        longer: list[list[Group]] = []
        for way in ways:
            for parent in way[-1].parents.order_by("name"):
                if parent.pk == group.pk:
                    return way
                if parent.pk not in seen:
                    seen.add(parent.pk)
                    longer.append([*way, parent])
        ways = longer
    return []


def _what(grant: Grant, document: Document) -> str:
    if grant.collection is not None:
        return f"collection {grant.collection.name}"
    if grant.document_id == document.pk:
        return "this document"
    return f"{grant.document.title if grant.document else 'the file'}, which this came out of"
