"""What a report is, whatever it is about and however it is written."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone

from appliance.audit.models import AuditEvent
from appliance.audit.record import Entity
from appliance.ops.audit.names import Names

#: The most events that one report holds; what is more is said to be missing, in the report itself.
MAX_EVENTS = 20_000


class Kind(models.TextChoices):
    """Which report."""

    DISCLOSURES = "disclosures", "Accounting of disclosures"
    SUBJECT = "subject", "All that concerns one person"
    ACCESS = "access", "Access to a collection"


class Of(models.TextChoices):
    """What a report is about."""

    PERSON = "person", "Person"
    DOCUMENT = "document", "Document"
    COLLECTION = "collection", "Collection"
    REFERENCE = "reference", "Patient or matter reference"


class Format(models.TextChoices):
    """How a report is written."""

    CSV = "csv", "Table (CSV)"
    JSONL = "jsonl", "Lines of JSON"
    FHIR = "fhir", "FHIR R4 bundle"
    PDF = "pdf", "PDF"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about: its name for the reader, and ids. `documents` of a collection or a document; `glass`
    are the emergency accesses that a reference stands for, with the documents that they opened."""

    of: Of
    name: str
    entities: tuple[Entity, ...]
    person: uuid.UUID | None = None
    collection: uuid.UUID | None = None
    documents: frozenset[str] = frozenset()
    glass: tuple[uuid.UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` on, before `end`; None is open."""

    start: datetime | None = None
    end: datetime | None = None

    def __str__(self) -> str:
        first = f"from {written(self.start)}" if self.start else "from the beginning"
        return f"{first} until {written(self.end)}" if self.end else f"{first} until now"


@dataclass(frozen=True, slots=True)
class Report:
    """`rows` hold a text or a number for each column's name. `events` are those that it was made from, in order."""

    kind: Kind
    subject: Subject
    period: Period
    columns: tuple[tuple[str, str], ...]
    rows: list[dict[str, Any]]
    events: list[AuditEvent]
    names: Names
    truncated: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def title(self) -> str:
        return f"{self.kind.label}: {self.subject.name}"


def written(moment: datetime | None) -> str:
    """A moment as every report has it: ISO 8601 with the site's offset, seconds. Empty for none."""
    return timezone.localtime(moment).isoformat(timespec="seconds") if moment else ""


def leaf_of(event: AuditEvent) -> int | None:
    """The event's place in the sealed tree, None before it is sealed."""
    leaf = getattr(event, "leaf", None)
    return leaf.index if leaf is not None else None
