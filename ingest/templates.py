"""Chunk templates: where the passages of each kind of document begin and end.

A template names what a chunk never runs across (`walls`), where it prefers to end (`ends`, beside headings), which
headings there are beside those that the file's format marks, and the sizes. Sizes are estimated tokens; together with
its header a chunk of 200 is what the embedder reads whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ingest.headings import merged
from ingest.types import ParsedDocument, Section

Offsets = Callable[[ParsedDocument, tuple[Section, ...]], list[int]]

_CLAUSE = re.compile(
    r"^[ \t]*(?:\d{1,2}(?:\.\d{1,2}){1,3}\.?|\d{1,2}\.|\((?:[a-z]|[ivx]{2,5}|\d{1,2})\))[ \t]+(?=\S)", re.M
)
_NOTE_WORDS = (
    r"(?:(?:past |previous |relevant )?(?:medical|surgical|drug|family|social|psychiatric|obstetric) history"
    r"|history(?: of (?:the )?present(?:ing)? (?:illness|complaint))?|(?:presenting|chief) complaint|reason for \w+"
    r"|subjective|objective|on examination|(?:physical )?examination|observations|vital signs|allerg(?:y|ies)"
    r"|(?:current |regular |discharge |home )?medications?(?: on (?:admission|discharge))?|investigations|results"
    r"|impression|assessment(?: and plan)?|diagnos[ie]s|procedures?|(?:hospital |clinical )?course|progress"
    r"|(?:discharge |treatment |care |management )?plan|management|follow[- ]?up|discharge (?:summary|instructions)"
    r"|recommendations?)"
)
_NOTE_SECTION = re.compile(rf"^[ \t]*(?P<title>{_NOTE_WORDS})[ \t]*(?::|(?=\n)|\Z)", re.M | re.I)
_MESSAGE = re.compile(
    r"^(?:>[ \t]*)*(?:From:[^\n]*(?=\n(?:>[ \t]*)*(?:Sent|Date|To|Cc|Subject):)|On [^\n]{8,200}\bwrote:)", re.M
)
_MAX_HEADING_CHARS = 90


def _own(document: ParsedDocument) -> tuple[Section, ...]:
    return document.sections


def _nowhere(document: ParsedDocument, sections: tuple[Section, ...]) -> list[int]:
    return []


@dataclass(frozen=True, slots=True)
class Template:
    """How one kind of document is cut.

    A stretch between two walls of fewer than `least_tokens` is joined with the one after it, so that a heading stays
    with what it heads and a document of one-line clauses does not fall to pieces.
    """

    name: str
    target_tokens: int = 200
    overlap_tokens: int = 40
    least_tokens: int = 0
    sections: Callable[[ParsedDocument], tuple[Section, ...]] = _own
    walls: Offsets = _nowhere
    ends: Offsets = _nowhere


def _clauses(document: ParsedDocument, sections: tuple[Section, ...]) -> list[int]:
    return [match.start() for match in _CLAUSE.finditer(document.text)]


def _outermost(document: ParsedDocument, sections: tuple[Section, ...]) -> list[int]:
    level = min((section.level for section in sections), default=0)
    return [section.start for section in sections if section.level == level]


def _every_heading(document: ParsedDocument, sections: tuple[Section, ...]) -> list[int]:
    return [section.start for section in sections]


def _every_page(document: ParsedDocument, sections: tuple[Section, ...]) -> list[int]:
    return [page.start for page in document.pages] if document.paginated else _every_heading(document, sections)


def _with_note_sections(document: ParsedDocument) -> tuple[Section, ...]:
    found = (
        Section(" ".join(match["title"].split()), 2, match.start("title"))
        for match in _NOTE_SECTION.finditer(document.text)
    )
    return merged(document.sections, found)


def _with_messages(document: ParsedDocument) -> tuple[Section, ...]:
    found = (
        Section(" ".join(match.group().strip("> \t").split())[:_MAX_HEADING_CHARS], 2, match.start())
        for match in _MESSAGE.finditer(document.text)
    )
    return merged(document.sections, found)


TEMPLATES = {
    template.name: template
    for template in (
        Template("generic"),
        # A main clause is never mixed with the next; inside it, sub-clauses stay whole where they fit.
        Template("contract", least_tokens=40, walls=_outermost, ends=_clauses),
        # Each section of a note stands by itself: a drug under HISTORY is not one under PLAN.
        Template(
            "clinical_note",
            target_tokens=160,
            overlap_tokens=20,
            least_tokens=5,
            sections=_with_note_sections,
            walls=_every_heading,
        ),
        Template("policy", least_tokens=30, walls=_every_heading, ends=_clauses),
        Template("slides", overlap_tokens=0, walls=_every_page),
        Template("mail", overlap_tokens=20, sections=_with_messages, walls=_every_heading),
    )
}
