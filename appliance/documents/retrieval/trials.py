"""Trying search out: saved questions with the passage each should find, and recall before and after a change.

For managers of a collection only, and under their own rights: a document that a manager may not read is neither shown
nor found here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents import embedding
from appliance.documents.access import access_collection, access_document
from appliance.documents.models import Collection, DocumentVersion, QuestionSet, RetrievalRun, SavedQuestion
from appliance.documents.retrieval import ranking
from appliance.documents.search import search
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.text import clean_name

MAX_QUESTIONS = 200
_DEPTH = 20
_MIN_EXPECTED_CHARS = 10


@dataclass(frozen=True, slots=True)
class Recall:
    """What a run found: questions, and the share found among the first 1, 5 and 10."""

    run: RetrievalRun
    questions: int
    at: Mapping[int, float]


def do_create_set(collection_id: uuid.UUID | str, name: str, *, acting_user: User, actor: Actor) -> QuestionSet:
    """A new, empty question set. Raises BadRequest without a name, Conflict for a taken one."""
    collection = access_collection(acting_user, collection_id, role="manager")
    name = clean_name(name, limit=150)
    if not name:
        raise BadRequest("A question set needs a name.")
    with transaction.atomic():
        made, new = QuestionSet.objects.get_or_create(
            collection=collection, name=name, defaults={"created_by": acting_user}
        )
        if not new:
            raise Conflict(f"There is a question set named {name!r} already.", code="question_set_exists")
        _record("question_set.create", collection, actor)
    return made


def do_save_question(
    set_id: uuid.UUID | str,
    text: str,
    *,
    document_id: uuid.UUID | str,
    expected: str,
    acting_user: User,
    actor: Actor,
) -> SavedQuestion:
    """Adds a question and the words of the passage that answers it. Raises NotFound for a document out of reach."""
    question_set = access_set(acting_user, set_id)
    document = access_document(acting_user, document_id)
    if document.collection_id != question_set.collection_id:
        raise NotFound()
    text, expected = text.strip().replace("\x00", ""), " ".join(expected.replace("\x00", "").split())
    if not text or len(text) > 2_000 or not _MIN_EXPECTED_CHARS <= len(expected) <= 10_000:
        raise BadRequest(f"A saved question needs words, and at least {_MIN_EXPECTED_CHARS} characters of its passage.")
    if question_set.questions.count() >= MAX_QUESTIONS:
        raise Conflict(f"A question set holds at most {MAX_QUESTIONS} questions.", code="question_set_full")
    with transaction.atomic():
        saved = SavedQuestion.objects.create(question_set=question_set, text=text, document=document, expected=expected)
        _record("question_set.add", question_set.collection, actor)
    return saved


def do_run_set(set_id: uuid.UUID | str, *, acting_user: User, actor: Actor) -> RetrievalRun:
    """Asks every question of a set in its collection and keeps the rank of each one's passage. Shows no passage."""
    question_set = access_set(acting_user, set_id)
    collection = question_set.collection
    _record("question_set.run", collection, actor, kind=EventType.INTENT)
    ranks: dict[str, int | None] = {}
    for question in question_set.questions.order_by("pk"):
        passages = search(acting_user, question.text, collection_ids=[collection.pk], k=_DEPTH).passages
        ranks[str(question.pk)] = next(
            (
                rank
                for rank, passage in enumerate(passages, start=1)
                if passage.document_id == question.document_id and _holds(passage.text, question.expected)
            ),
            None,
        )
    with transaction.atomic():
        run = RetrievalRun.objects.create(
            question_set=question_set, by=acting_user, settings=settings_of(collection), ranks=ranks
        )
        _record("question_set.run", collection, actor, kind=EventType.OUTCOME, detail={"questions": len(ranks)})
    return run


def do_delete_set(set_id: uuid.UUID | str, *, acting_user: User, actor: Actor) -> None:
    """Removes a question set with its questions and runs."""
    question_set = access_set(acting_user, set_id)
    with transaction.atomic():
        _record("question_set.delete", question_set.collection, actor)
        question_set.delete()


def access_set(user: User, set_id: uuid.UUID | str) -> QuestionSet:
    """A question set of a collection that `user` manages. Raises NotFound."""
    managed = Collection.objects.visible_to(user, role="manager")
    found = QuestionSet.objects.filter(pk=set_id, collection__in=managed).select_related("collection").first()
    if found is None:
        raise NotFound()
    return found


def sets_of(collection: Collection) -> list[dict[str, Any]]:
    """The question sets of a collection with their last two runs, newest first."""
    sets = collection.question_sets.annotate(size=Count("questions", distinct=True)).order_by("name")
    return [
        {"set": each, "size": each.size, "runs": [recall(run) for run in each.runs.order_by("-pk")[:2]]}
        for each in sets
    ]


def recall(run: RetrievalRun) -> Recall:
    """The shares of a run."""
    ranks = list(run.ranks.values())
    shares = {
        k: sum(rank is not None and rank <= k for rank in ranks) / len(ranks) if ranks else 0.0 for k in (1, 5, 10)
    }
    return Recall(run, len(ranks), shares)


def settings_of(collection: Collection) -> dict[str, Any]:
    """What a run was made under."""
    current = DocumentVersion.objects.filter(document__collection=collection, pk=F("document__current_version"))
    weights = {"dense": ranking.DENSE_WEIGHT, "bm25": ranking.LEXICAL_WEIGHT, "named": ranking.NAMED_WEIGHT}
    return {
        "language": collection.language,
        "chunk_template": collection.chunk_template,
        "model": embedding.active().name,
        "reranker": settings.RERANKER,
        "documents": current.count(),
        "weights": weights,
    }


def _holds(passage: str, expected: str) -> bool:
    """Whether the passage has the expected words, or at least half of them where it was cut elsewhere."""
    have, want = " ".join(passage.split()).casefold(), expected.casefold()
    if want in have or have in want:
        return True
    words = want.split()
    half = max(4, len(words) // 2)
    return " ".join(words[:half]) in have or " ".join(words[-half:]) in have


def _record(
    action: str,
    collection: Collection,
    actor: Actor,
    *,
    kind: EventType = EventType.SETTING,
    detail: dict[str, Any] | None = None,
) -> None:
    entities = (Entity("collection", str(collection.pk)),)
    record(Event(kind, action, entities=entities, detail=detail or {}), actor=actor)
