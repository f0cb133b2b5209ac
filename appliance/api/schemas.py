"""The wire types of /api/v1."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, Field


class ErrorOut(Schema):
    """A refusal or failure of any operation. `code` is stable; the request id finds the line in the log."""

    error: Annotated[
        dict[str, Any],
        Field(
            json_schema_extra={
                "properties": {name: {"type": "string"} for name in ("code", "message", "hint", "request_id")},
                "required": ["code", "message", "hint", "request_id"],
            }
        ),
    ]


class CollectionIn(Schema):
    """A new collection."""

    name: str = Field(min_length=1, max_length=150)
    description: str = Field(default="", max_length=5_000)
    classification: Literal["public", "internal", "confidential", "restricted"] = "confidential"


class CollectionOut(Schema):
    """A collection as its readers see it; `documents` counts those they may read."""

    id: uuid.UUID
    name: str
    description: str
    classification: str
    documents: int


class GrantIn(Schema):
    """One rule: exactly one of `user` and `group`, by name."""

    user: str | None = None
    group: str | None = None
    role: Literal["reader", "contributor", "manager"] = "reader"
    effect: Literal["allow", "deny"] = "allow"
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    reason: str = Field(default="", max_length=2_000)


class GrantOut(Schema):
    """A stored rule."""

    id: uuid.UUID
    user: str | None
    group: str | None
    role: str
    effect: str


class VersionOut(Schema):
    """One version and where it is on its way. `error` is set for failed and quarantined ones."""

    n: int
    status: str
    sha256: str
    media_type: str
    size_bytes: int
    pages: int
    chunks: int
    chunks_done: int
    created_at: datetime
    ready_at: datetime | None
    error: dict[str, str] | None


class DocumentOut(Schema):
    """A document with its versions, newest first. `status` and `error` are those of the newest."""

    id: uuid.UUID
    collection: uuid.UUID
    title: str
    filename: str
    status: str
    error: dict[str, str] | None
    current_version: int | None
    versions: list[VersionOut]


class PasswordIn(Schema):
    """What opens a file. It is in no log and no audit event."""

    password: str = Field(min_length=1, max_length=255)


class StepOut(Schema):
    """One step of a version's way through ingest."""

    at: datetime
    step: str
    detail: dict[str, Any]


class RetriedOut(Schema):
    """How many versions are being read again."""

    retried: int


class SearchIn(Schema):
    """A query. Without `collections` all that the caller may see is searched."""

    query: str = Field(min_length=1, max_length=8_000)
    collections: list[str] = Field(default_factory=list, max_length=100)
    k: int = Field(default=10, ge=1, le=100)


class PassageOut(Schema):
    """One passage: `start` and `end` are code-point offsets in the version's text, `chunk` is its place in it.

    `more_like_it` counts passages found elsewhere that say the same and are not shown.
    """

    document: uuid.UUID
    version: int
    title: str
    heading: str
    page: int
    start: int
    end: int
    text: str
    score: float
    chunk: int
    more_like_it: int


class CoverageOut(Schema):
    """What the search had in view. `not_reranked` passages would have been read by the reranker, had it answered."""

    collections: int
    documents: int
    searched: int
    not_ready: int
    reranked: int
    not_reranked: int


class SearchOut(Schema):
    """Passages, best first."""

    results: list[PassageOut]
    coverage: CoverageOut
