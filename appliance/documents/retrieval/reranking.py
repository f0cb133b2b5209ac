"""The best passages read once more, each together with the question, by a cross-encoder on the model server.

Its judgement takes the place of the parts for meaning and words; what the question names and asks for counts as
before. Off unless APPLIANCE_RERANKER names a model. When the server has none of that name, or does not answer in
time, search goes on without it and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django.conf import settings

from appliance.lib.errors import ModelUnavailable
from appliance.llm import client

if TYPE_CHECKING:
    from appliance.documents.search import Passage

log = logging.getLogger(__name__)

#: How many passages are read again, or as many as a search ranks when that is more.
DEPTH = 50


def is_on() -> bool:
    """Whether the site named a reranker."""
    return bool(settings.RERANKER)


def reranked(topic: str, passages: Sequence[Passage]) -> list[Passage] | None:
    """`passages` with new scores, best first; None when the reranker could not be asked."""
    if not passages:
        return []
    texts = [f"{passage.label}; {passage.heading}\n{passage.text}" for passage in passages]
    try:
        relevance = client.rerank(topic, texts, model=settings.RERANKER, timeout_s=settings.RERANKER_TIMEOUT_S)
    except ModelUnavailable as error:
        log.warning("searched without the reranker %s: %s", settings.RERANKER, error)
        return None
    scored = [_scored(passage, score) for passage, score in zip(passages, relevance, strict=True)]
    return sorted(scored, key=lambda passage: (-passage.score, passage.chunk_id))


def _scored(passage: Passage, relevance: float) -> Passage:
    scores = passage.scores
    if scores is None:
        return replace(passage, score=relevance)
    rest = scores.named + scores.date + scores.opening + scores.amount + scores.duration
    total = round(relevance + rest, 9)
    return replace(
        passage, score=total, scores=replace(scores, total=total, dense=0.0, lexical=0.0, reranked=relevance)
    )
