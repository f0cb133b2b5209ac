"""Accounting of disclosures: each time a document was shown, with what 45 CFR 164.528(b)(2) asks for.

    (i)   the date                                      date
    (ii)  who received it, and their address if known   person, title, organisation
    (iii) a brief description of what was disclosed     document, version, pages, passages, how
    (iv)  a brief statement of the purpose              purpose, reference

A row for each document of each event. The appliance knows the organisation's name, not its postal address.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings

from appliance.accounts.models import User
from appliance.audit.models import AuditEntity, AuditEvent
from appliance.documents.models import BreakGlass
from appliance.ops.audit.names import Names, names_in
from appliance.ops.reports.events import shown
from appliance.ops.reports.model import MAX_EVENTS, Kind, Of, Period, Report, Subject, leaf_of, written

COLUMNS = (
    ("date", "Date"),
    ("person", "Shown to"),
    ("title", "Title"),
    ("organisation", "Organisation"),
    ("document", "Document"),
    ("version", "Version"),
    ("pages", "Pages"),
    ("passages", "Passages"),
    ("how", "How"),
    ("purpose", "Purpose"),
    ("reference", "Reference"),
    ("document_id", "Number of the document"),
    ("event", "Event"),
    ("leaf", "Place in the sealed log"),
)
_HOW = {
    "answer.passages": "Passages for an answer",
    "search.passages": "Passages found by a search",
    "find.passages": "Places found by their words",
    "document.page": "Page opened",
    "document.text": "Text opened",
    "document.find": "Places found in the document",
    "document.chunks": "Passages opened",
    "document.download": "File downloaded",
    "conversation.open": "Answer read again",
}
_USUAL = "Work under the access that was granted"


def disclosures(subject: Subject, period: Period, *, limit: int = MAX_EVENTS) -> Report:
    """The report, oldest first."""
    found = shown(subject, period, limit=limit)
    entities = [entity for event in found.events for entity in event.entities.all()]
    names = names_in(found.events, entities)
    people = {
        str(person.pk): person
        for person in User.objects.filter(pk__in={e.actor_id for e in found.events if e.actor_id})
    }
    glass = {uuid.UUID(entity.object_id) for entity in entities if entity.kind == "break_glass"}
    broken = {str(row.pk): row for row in BreakGlass.objects.filter(pk__in=glass)}
    rows = [row for event in found.events for row in _rows(event, subject, names, people, broken)]
    return Report(Kind.DISCLOSURES, subject, period, COLUMNS, rows, found.events, names, found.truncated)


def _rows(
    event: AuditEvent, subject: Subject, names: Names, people: dict[str, User], broken: dict[str, BreakGlass]
) -> Iterable[dict[str, Any]]:
    person = people.get(str(event.actor_id))
    under = [broken[e.object_id] for e in event.entities.all() if e.kind == "break_glass" and e.object_id in broken]
    places: dict[tuple[str, int], list[AuditEntity]] = {}
    for entity in event.entities.all():
        if entity.kind == "document" and entity.version is not None and _belongs(entity.object_id, subject, names):
            places.setdefault((entity.object_id, entity.version), []).append(entity)
    for (document, version), entities in places.items():
        yield {
            "date": written(event.recorded_at),
            "person": names.actor(event),
            "title": person.title if person else "",
            "organisation": settings.APPLIANCE_ORGANISATION,
            "document": names.called("document", document),
            "version": version,
            "pages": ranges({entity.page for entity in entities if entity.page is not None}),
            "passages": sum(entity.start is not None for entity in entities),
            "how": _HOW.get(event.action, event.action),
            "purpose": "; ".join(f"Emergency access: {glass.reason}" for glass in under) or _USUAL,
            "reference": "; ".join(glass.reference for glass in under),
            "document_id": document,
            "event": str(event.uid),
            "leaf": leaf_of(event),
        }


def _belongs(document: str, subject: Subject, names: Names) -> bool:
    """Whether a document of an event is one the report is about. One that was deleted since may have been."""
    if subject.of == Of.PERSON or document in subject.documents:
        return True
    return subject.of == Of.REFERENCE and document not in names.documents


def ranges(pages: Iterable[int]) -> str:
    """Pages as people write them: 1, 3-5."""
    parts: list[list[int]] = []
    for page in sorted(set(pages)):
        if parts and page == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], page]
        else:
            parts.append([page])
    return ", ".join("-".join(str(number) for number in part) for part in parts)
