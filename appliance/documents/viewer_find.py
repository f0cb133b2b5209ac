"""Searching inside one version: every place that has the words, with its page and what stands around it."""

from __future__ import annotations

import re
import uuid
from bisect import bisect_right
from dataclasses import dataclass

from appliance.accounts.models import User
from appliance.audit.content import record_with
from appliance.audit.models import ContentKind, EventType
from appliance.audit.record import Actor, Entity, Event
from appliance.documents.access import access_version
from appliance.documents.models import VersionStatus, VersionText
from appliance.documents.pages import NotReadYet

MAX_LISTED = 200
MAX_QUERY_CHARS = 200
_AROUND = 48


@dataclass(frozen=True, slots=True)
class Match:
    """One place. `number` counts from 1; `start` and `end` are offsets in the version's text."""

    number: int
    page: int
    start: int
    end: int
    before: str
    found: str
    after: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was searched for and where it stands: the first `MAX_LISTED` places of `total`."""

    query: str
    total: int
    matches: list[Match]

    def at(self, number: int | None, page: int) -> Match | None:
        """Match `number`; without one, the first on or after `page`, or else the first."""
        if number is not None:
            return self.matches[number - 1] if 1 <= number <= len(self.matches) else None
        return next((match for match in self.matches if match.page >= page), self.matches[0] if self.matches else None)

    def before(self, match: Match | None, page: int) -> Match | None:
        """The match before `match`; without one, the last before `page`."""
        if match is not None:
            return self.at(match.number - 1, page)
        return next((found for found in reversed(self.matches) if found.page < page), None)

    def after(self, match: Match | None, page: int) -> Match | None:
        """The match after `match`; without one, the first on or after `page`."""
        if match is not None:
            return self.at(match.number + 1, page)
        return next((found for found in self.matches if found.page >= page), None)


def pattern_of(query: str) -> re.Pattern[str]:
    """The words of `query` in their order, in any case, whatever white space is between them."""
    return re.compile(r"\s+".join(re.escape(word) for word in query.split()), re.IGNORECASE)


def do_find(*, user: User, actor: Actor, document_id: uuid.UUID | str, n: int, query: str) -> Found:
    """Every place of a version that has the words of `query`, recorded as shown. Raises NotFound and NotReadYet."""
    version = access_version(user, document_id, n)
    if version.status != VersionStatus.READY:
        raise NotReadYet()
    query = " ".join(query.split())[:MAX_QUERY_CHARS]
    if not query:
        return Found("", 0, [])
    content = VersionText.objects.get(version=version)
    starts = [start for _, start, _ in content.pages]
    matches: list[Match] = []
    total = 0
    for hit in pattern_of(query).finditer(content.text):
        total += 1
        if len(matches) < MAX_LISTED:
            number = content.pages[max(0, bisect_right(starts, hit.start()) - 1)][0]
            matches.append(_match(content.text, total, number, *hit.span()))
    shown = tuple(
        Entity(
            "document", str(version.document_id), version=version.n, page=match.page, start=match.start, end=match.end
        )
        for match in matches
    ) or (Entity("document", str(version.document_id), version=version.n),)
    detail = {"chars": len(query), "matches": total}
    event = Event(EventType.ACCESS, "document.find", correlation=uuid.uuid4(), entities=shown, detail=detail)
    record_with(event, ContentKind.QUESTION, query, actor=actor)
    return Found(query, total, matches)


def _match(text: str, number: int, page: int, start: int, end: int) -> Match:
    before = " ".join(text[max(0, start - _AROUND) : start].split(" ")[0 if start <= _AROUND else 1 :])
    after = text[end : end + _AROUND]
    if end + _AROUND < len(text):
        after = after.rpartition(" ")[0] or after
    return Match(number, page, start, end, _flat(before), _flat(text[start:end]), _flat(after))


def _flat(text: str) -> str:
    """One line: every run of white space is a space, and those at the ends stay."""
    return re.sub(r"\s+", " ", text)
