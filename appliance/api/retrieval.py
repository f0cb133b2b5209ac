"""/api/v1: finding words as they stand, the passages around one, and how a collection is indexed."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from appliance.accounts import throttle
from appliance.accounts.sessions import actor_of, current_user
from appliance.documents.access import access_collection
from appliance.documents.audited import do_find
from appliance.documents.models import Collection
from appliance.documents.retrieval.find import MAX_LIMIT, MAX_OFFSET, MAX_PATTERN_CHARS
from appliance.documents.retrieval.neighbours import do_read_chunks
from appliance.documents.retrieval.tuning import do_set_retrieval, progress

router = Router()


class FindIn(Schema):
    """Words, or a regular expression, to find in one document, in collections, or in all that the caller may see."""

    query: str = Field(min_length=1, max_length=MAX_PATTERN_CHARS)
    regex: bool = False
    document: str | None = None
    collections: list[str] = Field(default_factory=list, max_length=100)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    limit: int = Field(default=50, ge=1, le=MAX_LIMIT)


class MatchOut(Schema):
    """One place: `start` and `end` are code-point offsets in the version's text."""

    document: uuid.UUID
    version: int
    title: str
    page: int
    start: int
    end: int
    before: str
    text: str
    after: str


class FindOut(Schema):
    """Matches by title and place. `next_offset` is null when there are no more."""

    matches: list[MatchOut]
    next_offset: int | None


class ChunkOut(Schema):
    """A passage of a version by its place in it."""

    chunk: int
    page: int
    start: int
    end: int
    heading: str
    text: str


@router.post("/find", response=FindOut, tags=["search"])
def find(request: HttpRequest, body: FindIn) -> Any:
    """Every place that has the words, whatever their case."""
    user = current_user(request)
    throttle.take(throttle.SEARCH, user.pk)
    found = do_find(
        user,
        body.query,
        actor=actor_of(request),
        regex=body.regex,
        document_id=body.document,
        collection_ids=body.collections,
        offset=body.offset,
        limit=body.limit,
    )
    return {"matches": [match.as_dict() for match in found.matches], "next_offset": found.next_offset}


@router.get("/documents/{document_id}/versions/{n}/chunks/{ordinal}", response=list[ChunkOut], tags=["documents"])
def chunks(request: HttpRequest, document_id: str, n: int, ordinal: int, around: int = 1) -> Any:
    """A passage with those around it, as `chunk` in a search result names it."""
    return do_read_chunks(
        user=current_user(request),
        actor=actor_of(request),
        document_id=document_id,
        n=n,
        ordinal=ordinal,
        around=around,
    )


class RetrievalIn(Schema):
    """What to change of how a collection is indexed; what is left out stays."""

    language: str | None = Field(default=None, max_length=63)
    chunk_template: str | None = Field(default=None, max_length=20)


class RetrievalOut(Schema):
    """How a collection is indexed. `versions_done` of `versions` are indexed so by now; the others as before."""

    language: str
    chunk_template: str
    versions_done: int
    versions: int


@router.get("/collections/{collection_id}/retrieval", response=RetrievalOut, tags=["collections"])
def show_retrieval(request: HttpRequest, collection_id: str) -> Any:
    """How a collection that the caller manages is indexed, and how far a change of it is."""
    return _retrieval(access_collection(current_user(request), collection_id, role="manager"))


@router.patch("/collections/{collection_id}/retrieval", response=RetrievalOut, tags=["collections"])
def change_retrieval(request: HttpRequest, collection_id: str, body: RetrievalIn) -> Any:
    """Changes it. The documents are indexed again in the background, and found as before until then."""
    changed = do_set_retrieval(
        collection_id,
        language=body.language,
        chunk_template=body.chunk_template,
        acting_user=current_user(request),
        actor=actor_of(request),
    )
    return _retrieval(changed)


def _retrieval(collection: Collection) -> dict[str, Any]:
    how_far = progress(collection)
    return {
        "language": collection.language,
        "chunk_template": collection.chunk_template,
        "versions_done": how_far.done,
        "versions": how_far.of,
    }
