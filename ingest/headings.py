"""Headings of texts without structure: numbered clauses, articles, lines in capitals; also inside one long line."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

from ingest.types import Section

MAX_HEADING_CHARS = 90
_SMALL = r"(?:and|of|the|to|for|in|on|or|by|with|from|a|an|at|as|its|under|upon|per)"
_NAME = r"[A-Z][\w’'/&\-]*"
_TITLE = rf"{_NAME}(?:,?\s+(?:{_NAME}|{_SMALL}|&|\d{{1,2}}(?![.\d]))){{0,9}}"
_NUMBER = r"\d{1,2}(?:\.\d{1,2}){0,3}\.?"
_BOUNDARY = r"(?:^|(?<=\n)|(?<=[.;:!?”\"’)\]]\s)|(?<=[.;:!?”\"’)\]]\s\s))"

_NUMBERED = re.compile(
    rf"{_BOUNDARY}(?P<number>{_NUMBER}|[IVX]{{1,5}}\.)[ \t]+(?P<title>{_TITLE})"
    rf"(?P<end>[.:](?=\s|$)|\s*[–—]\s|(?=[ \t]*\n|\s*$)|(?=\s+{_NUMBER}\s+[A-Z(“\"]))"
)
_NAMED = re.compile(
    rf"{_BOUNDARY}(?P<word>ARTICLE|SECTION|SCHEDULE|EXHIBIT|ANNEX|APPENDIX|PART|Article|Section|Schedule|Clause|Annex"
    rf"|Appendix|Part)\s+(?P<number>\d{{1,2}}(?:\.\d{{1,2}}){{0,2}}|[IVXL]{{1,6}}|[A-H])\b[.:]?"
    rf"(?P<title>[ \t]*(?:[–—:-][ \t]*)?{_TITLE}(?=[.:]|[ \t]*\n|\s*$)|[ \t]*\n\s*{_TITLE}(?=[ \t]*\n)|"
    rf"(?:[ \t]+[A-Z][A-Z,&’'/-]+)+|(?=[ \t]*\n))"
)
_CAPITALS = re.compile(r"^(?P<title>[A-Z][A-Z0-9 ,&’'/().:–-]{3,80})[ \t]*$", re.M)
_CAPITALS_INLINE = re.compile(
    rf"(?<=[.;:”\"’)]\s)(?P<title>(?:[A-Z][A-Z&’'/-]{{2,}}|OF|TO|IN|OR|BY)(?:,?\s(?:[A-Z][A-Z&’'/-]+|&)){{0,7}})"
    rf"\.?\s+(?={_NUMBER}\s|[A-Z][a-z]|\([a-z1]\))"
)
_OUTERMOST = {"article", "part", "schedule", "exhibit", "annex", "appendix"}
_NOT_HEADINGS = re.compile(r"^(?:WHEREAS|NOW|THEREFORE|AND|BETWEEN|BY|IN WITNESS|INC|LLC|USA?|NOTE)\b", re.I)


def find_headings(text: str) -> tuple[Section, ...]:
    """Headings by pattern, in order of where they start, never overlapping."""
    found: dict[int, Section] = {}
    articles = False
    for match in _NAMED.finditer(text):
        word = match["word"].lower()
        articles = articles or word == "article"
        _keep(found, match.start(), match.group(), 1 if word in _OUTERMOST else 2)
    for match in _NUMBERED.finditer(text):
        depth = len([part for part in match["number"].rstrip(".").split(".") if part and part != "0"])
        _keep(found, match.start(), f"{match['number']} {match['title']}", max(depth, 1) + articles)
    for pattern in (_CAPITALS, _CAPITALS_INLINE):
        for match in pattern.finditer(text):
            title = match["title"].strip()
            if sum(character.isalpha() for character in title) >= 4 and not _NOT_HEADINGS.match(title):
                _keep(found, match.start("title"), title, 1)
    return _apart([found[start] for start in sorted(found)])


def _keep(found: dict[int, Section], start: int, heading: str, level: int) -> None:
    heading = " ".join(heading.split()).rstrip(" :–—-")
    if len(heading) <= MAX_HEADING_CHARS:
        found.setdefault(start, Section(heading, level, start))


def _apart(sections: list[Section]) -> tuple[Section, ...]:
    """Drop a heading that starts inside the one before it."""
    kept: list[Section] = []
    for section in sections:
        if not kept or section.start >= kept[-1].start + len(kept[-1].heading):
            kept.append(section)
    return tuple(kept)


def merged(own: tuple[Section, ...], found: Iterable[Section]) -> tuple[Section, ...]:
    """A document's own headings and others that were found in it, in order; where both stand, its own."""
    by_start = {section.start: section for section in found} | {section.start: section for section in own}
    return _apart([by_start[start] for start in sorted(by_start)])


def heading_path(sections: tuple[Section, ...], starts: list[int], position: int, *, without: str = "") -> str:
    """The innermost two headings above ``position``, outermost first, joined by " > ".

    ``starts`` are the sections' starts; ``without`` is a heading that says nothing new (the document's title).
    """
    index = bisect_left(starts, position + 1) - 1
    path: list[str] = []
    level = 1_000
    while index >= 0 and len(path) < 2 and level > 1:
        section = sections[index]
        if section.level < level:
            level = section.level
            if section.heading.casefold() != without.casefold():
                path.insert(0, section.heading)
        index -= 1
    return " > ".join(path)
