"""A search, or a find, as a whole act: intent, passages, disclosure. For REST and pages; answers have their own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from appliance.accounts.models import User
from appliance.audit.content import record_with
from appliance.audit.models import ContentKind, EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, asked_for, record
from appliance.documents.retrieval.find import Found, find
from appliance.documents.search import SearchResult, search
from appliance.lib.failures import translate

T = TypeVar("T")


def do_search(
    user: User, query: str, *, actor: Actor, collection_ids: Sequence[uuid.UUID | str] = (), k: int = 10
) -> SearchResult:
    """Searches for `user` and records what they are shown. Raises what `search` raises, recorded as failed."""
    return _recorded(
        "search",
        query,
        lambda: search(user, query, collection_ids=collection_ids, k=k),
        lambda result: tuple(passage.entity() for passage in result.passages),
        lambda result: result.coverage.as_dict() | {"passages": len(result.passages)},
        actor=actor,
        scope=asked_for("collection", collection_ids),
        detail={"chars": len(query), "k": k},
    )


def do_find(
    user: User,
    words: str,
    *,
    actor: Actor,
    regex: bool = False,
    document_id: uuid.UUID | str | None = None,
    collection_ids: Sequence[uuid.UUID | str] = (),
    offset: int = 0,
    limit: int = 50,
) -> Found:
    """Finds words for `user` and records the places shown. Raises what `find` raises, recorded as failed."""
    collections = asked_for("collection", collection_ids)
    document = asked_for("document", () if document_id is None else (document_id,))
    return _recorded(
        "find",
        words,
        lambda: find(
            user,
            words,
            regex=regex,
            document_id=document_id,
            collection_ids=collection_ids,
            offset=offset,
            limit=limit,
        ),
        lambda found: tuple(match.entity() for match in found.matches),
        lambda found: {"matches": len(found.matches)},
        actor=actor,
        scope=collections + document,
        detail={"chars": len(words), "regex": regex, "offset": offset, "limit": limit},
    )


def _recorded(
    act: str,
    query: str,
    run: Callable[[], T],
    shown: Callable[[T], tuple[Entity, ...]],
    counts: Callable[[T], dict[str, int]],
    *,
    actor: Actor,
    scope: tuple[Entity, ...],
    detail: dict[str, Any],
) -> T:
    """Intent, the act, disclosure, outcome: nothing is returned that was not recorded."""
    correlation = uuid.uuid4()
    intent = Event(EventType.INTENT, f"{act}.ask", correlation=correlation, entities=scope, detail=detail)
    record_with(intent, ContentKind.QUESTION, query, actor=actor)
    try:
        result = run()
    except Exception as error:
        failed = Event(
            EventType.OUTCOME,
            f"{act}.finish",
            Outcome.FAILED,
            correlation=correlation,
            detail={"code": translate(error).public_code},
        )
        record(failed, actor=actor)
        raise
    record(
        Event(
            EventType.DISCLOSURE,
            f"{act}.passages",
            correlation=correlation,
            entities=shown(result),
            detail=counts(result),
        ),
        actor=actor,
    )
    record(Event(EventType.OUTCOME, f"{act}.finish", correlation=correlation), actor=actor)
    return result
