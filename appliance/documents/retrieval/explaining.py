"""Why a passage ranked where it did, in words and figures."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.documents.search import Passage


@dataclass(frozen=True, slots=True)
class Explained:
    """A passage, the parts of its score that are not nothing, and the reasons in plain words."""

    passage: Passage
    parts: list[tuple[str, float]]
    reasons: list[str]


def explain(passage: Passage) -> Explained:
    """The parts add up to the passage's score."""
    scores = passage.scores
    if scores is None:
        return Explained(passage, [], [])
    named = [
        ("Read with the question", scores.reranked or 0.0),
        ("Meaning", scores.dense),
        ("Words", scores.lexical),
        ("Document named", scores.named),
        ("Opening of its document", scores.opening),
        ("Holds a date", scores.date),
        ("Holds an amount", scores.amount),
        ("Holds a period", scores.duration),
    ]
    reasons = [_by("meaning", passage.dense_rank, scores.cosine, "cosine")]
    reasons.append(_by("words", passage.lexical_rank, scores.bm25, "BM25"))
    if scores.reranked is not None:
        reasons.append(
            f"Read together with the question it fits by {scores.reranked:.3f} of 1; meaning and words no longer count."
        )
    if scores.named:
        reasons.append("The question names its document, so its passages come before those of others.")
    if scores.opening:
        reasons.append("The question asks what a document says of itself; that stands where it begins.")
    if scores.date or scores.amount or scores.duration:
        kinds = [
            word
            for word, part in (("date", scores.date), ("amount", scores.amount), ("period", scores.duration))
            if part
        ]
        reasons.append(f"The question asks for a {' and a '.join(kinds)}, and the passage holds one.")
    if passage.more_like_it:
        reasons.append(f"{passage.more_like_it} more passages say the same and are not listed.")
    return Explained(passage, [(name, part) for name, part in named if part], reasons)


def _by(what: str, rank: int | None, figure: float, unit: str) -> str:
    if rank is None:
        return f"By {what} it is not among the nearest ({unit} {figure:.3f})."
    return f"By {what} it comes {_ordinal(rank)} ({unit} {figure:.3f})."


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
