"""Search: what a person may see, read, ranked and put together. The access rule is inside the statement that ranks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from appliance.accounts.models import User
from appliance.audit.record import Entity
from appliance.documents import embedding
from appliance.documents.access import collections_for, documents_for, named_collections
from appliance.documents.models import Collection, EmbeddingModel
from appliance.documents.retrieval import reranking
from appliance.documents.retrieval.duplicates import collapse
from appliance.documents.retrieval.in_view import View, look_at
from appliance.documents.retrieval.naming import Reading, read_question
from appliance.documents.retrieval.ranking import Scores, Visible, rank
from appliance.lib.errors import BadRequest

MAX_RESULTS = 100
_SPARE = 30  # passages ranked beyond those asked for: they take the place of near-duplicates


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as shown. `start` and `end` are code-point offsets in the version's text."""

    chunk_id: int
    document_id: uuid.UUID
    version_id: int
    version: int
    title: str
    label: str
    heading: str
    page: int
    paginated: bool
    start: int
    end: int
    text: str
    score: float
    dense_rank: int | None
    lexical_rank: int | None
    scores: Scores | None = None
    ordinal: int = 0  # the chunk's place in its version
    more_like_it: int = 0  # passages that say the same elsewhere, among those found

    def entity(self) -> Entity:
        """The passage as the audit names it."""
        return Entity(
            "document",
            str(self.document_id),
            version=self.version,
            page=self.page,
            start=self.start,
            end=self.end,
        )

    def as_dict(self) -> dict[str, Any]:
        """The passage as REST and the commands show it."""
        return {
            "document": str(self.document_id),
            "version": self.version,
            "title": self.title,
            "heading": self.heading,
            "page": self.page,
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "score": self.score,
            "chunk": self.ordinal,
            "more_like_it": self.more_like_it,
        }


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a search had in view: visible collections and documents, how many were searchable, how many not yet.

    `reranked` counts passages that the reranker read; `not_reranked` those that it should have read and could not.
    """

    collections: int
    documents: int
    searched: int
    not_ready: int
    reranked: int = 0
    not_reranked: int = 0

    def as_dict(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Passages, best first, and what they were searched in."""

    passages: list[Passage]
    coverage: Coverage
    reading: Reading | None = None  # how the question was understood, None when nothing was searched


def search(user: User, query: str, *, collection_ids: Sequence[uuid.UUID | str] = (), k: int = 10) -> SearchResult:
    """The `k` best passages for `query` among what `user` may see, in the named collections or in all.

    Raises NotFound for a collection the user may not see, BadRequest for an empty query or a `k` outside 1..100,
    and ModelUnavailable when the query cannot be embedded. Not audited here: callers record what they show.
    """
    query = query.strip().replace("\x00", "")
    if not query:
        raise BadRequest("The question is empty.", code="question_empty")
    if not 1 <= k <= MAX_RESULTS:
        raise BadRequest(f"The number of passages lies between 1 and {MAX_RESULTS}.")
    collections = scope_of(user, collection_ids)  # on its own: a refusal at a wall is recorded, whatever follows
    with transaction.atomic():  # one, and not one for each statement: who asks is told to the database in each
        documents = documents_for(user).order_by()
        if collection_ids:
            documents = documents.filter(collection__in=collections)
        view = look_at(documents)
        coverage = Coverage(collections.count(), view.total, view.searched, view.not_ready)
        if not coverage.searched:
            return SearchResult([], coverage)
        visible = _visible(view)
        reading = read_question(
            query,
            visible=(view.sql, view.parameters),
            documents=visible.documents,
            configurations=visible.configurations,
        )
    ranked = _ranked(visible, reading, k)
    if reranking.is_on():
        better = reranking.reranked(reading.topic, ranked)
        done, missed = (len(ranked), 0) if better is not None else (0, len(ranked))
        coverage = replace(coverage, reranked=done, not_reranked=missed)
        ranked = ranked if better is None else better
    passages = collapse(ranked, lambda passage: passage.text, limit=k)
    return SearchResult([replace(passage, more_like_it=more) for passage, more in passages], coverage, reading)


def scope_of(user: User, collection_ids: Sequence[uuid.UUID | str]) -> QuerySet[Collection]:
    """The named collections, or all that `user` may see. Raises NotFound when one of them is not among those."""
    chosen = named_collections(user, collection_ids) if collection_ids else collections_for(user)
    return chosen.order_by()


def _visible(view: View) -> Visible:
    return Visible(
        view.sql,
        view.parameters,
        documents=view.searched,
        chunks=view.chunks,
        terms=view.terms,
        configurations=view.languages,
    )


def _ranked(visible: Visible, reading: Reading, k: int) -> list[Passage]:
    limit = max(k + _SPARE, reranking.DEPTH if reranking.is_on() else 0)
    while True:
        model = embedding.active()
        (vector,) = embedding.vectors_of(model, [reading.topic])
        with transaction.atomic():
            rows = rank(visible, reading, vector, model_id=model.pk, limit=limit)
            if EmbeddingModel.objects.filter(pk=model.pk, active=True).exists():
                return [_passage(row) for row in rows]
        # The index moved to another model meanwhile, so these vectors may have been on their way out.


def _passage(row: tuple[Any, ...]) -> Passage:
    return replace(Passage(*row[:15]), scores=Scores(row[12], *row[15:-1]), ordinal=row[-1])
