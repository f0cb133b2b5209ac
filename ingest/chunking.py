"""Text to chunks that the embedder reads whole, cut where sentences start."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from ingest.headings import heading_path
from ingest.sentences import sentence_starts, units
from ingest.templates import TEMPLATES
from ingest.tokens import count_tokens
from ingest.types import Chunk, ParsedDocument

HEADER_TOKENS = 45
_HEADING_TOKENS = 25

Unit = tuple[int, int, int]


def chunk(
    document: ParsedDocument,
    *,
    template: str = "generic",
    target_tokens: int | None = None,
    overlap_tokens: int | None = None,
) -> list[Chunk]:
    """Chunks of about ``target_tokens`` estimated tokens, each starting with the last sentences of the one before.

    ``template`` says where they may end and how long they are, unless sizes are given (``ingest.templates``). The
    overlap is at most ``overlap_tokens`` long, and left out where a new section starts. Every character that is not
    white space is in at least one chunk. A chunk may run over a page end; its page is where it starts. Raises
    ValueError for a template that is not there, and when the overlap is not smaller than the target.
    """
    if template not in TEMPLATES:
        raise ValueError(f"no such chunk template: {template!r}")
    rules = TEMPLATES[template]
    target = rules.target_tokens if target_tokens is None else target_tokens
    overlap = rules.overlap_tokens if overlap_tokens is None else overlap_tokens
    if not 0 <= overlap < target:
        raise ValueError("overlap_tokens must be at least 0 and less than target_tokens")
    text = document.text
    sections = rules.sections(document)
    section_starts = [section.start for section in sections]
    walls = sorted(set(rules.walls(document, sections)))
    ends = {*section_starts, *rules.ends(document, sections)}
    pieces = units(text, [*sentence_starts(text), *ends, *walls], target)
    pieces = [piece for piece in pieces if text[piece[0] : piece[1]].strip()]
    page_starts = [page.start for page in document.pages]
    chunks: list[Chunk] = []
    for first, last in _within_walls(pieces, walls, ends, target, overlap, rules.least_tokens):
        start, end = _trim(text, pieces[first][0], pieces[last - 1][1])
        heading = heading_path(
            sections,
            section_starts,
            _main_position(section_starts, start, end),
            without=document.title,
        )
        page = document.pages[max(bisect_right(page_starts, start) - 1, 0)].number
        body = text[start:end]
        indexed = f"{_header(document, heading)}\n{body}".lstrip("\n")
        chunks.append(Chunk(len(chunks), page, start, end, body, heading, indexed))
    return chunks


def _within_walls(
    pieces: list[Unit], walls: list[int], ends: set[int], target: int, overlap: int, least: int
) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of the units of each chunk. None has units on both sides of a wall."""
    starts = [piece[0] for piece in pieces]
    first = 0
    for wall in (*(bisect_left(starts, wall) for wall in walls), len(pieces)):
        short = wall < len(pieces) and sum(piece[2] for piece in pieces[first:wall]) < least
        if wall <= first or short:
            continue
        for start, end in _spans(pieces[first:wall], ends, target, overlap):
            yield first + start, first + end
        first = wall


def _spans(pieces: list[Unit], sections: set[int], target: int, overlap: int) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of the units of each chunk."""
    first = 0
    fresh = 0  # the first unit that is in no chunk yet
    while fresh < len(pieces):
        last = fresh
        tokens = sum(piece[2] for piece in pieces[first:fresh])
        while last < len(pieces) and (last == fresh or tokens + pieces[last][2] <= target):
            tokens += pieces[last][2]
            last += 1
        while first < fresh and tokens > target:  # a long sentence: give up overlap rather than overflow
            tokens -= pieces[first][2]
            first += 1
        last = _back_to_section(pieces, sections, fresh, last, target)
        yield first, last
        fresh = first = last
        if last < len(pieces) and pieces[last][0] in sections:
            continue
        carried = 0
        while first > 0 and carried + pieces[first - 1][2] <= overlap:
            first -= 1
            carried += pieces[first][2]
            if pieces[first][0] in sections:
                break


def _back_to_section(pieces: list[Unit], sections: set[int], fresh: int, last: int, target: int) -> int:
    """End at the last section start in the chunk's second half, so that a clause is not split for nothing."""
    if last >= len(pieces):
        return last
    tokens = sum(piece[2] for piece in pieces[fresh:last])
    for index in range(last, fresh, -1):
        if pieces[index][0] in sections and tokens * 2 >= target:
            while index - 1 > fresh and pieces[index - 1][0] in sections and pieces[index - 1][2] <= _HEADING_TOKENS:
                index -= 1  # a heading directly above a heading goes with it
            return index
        tokens -= pieces[index - 1][2]
    return last


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    body = text[start:end]
    return start + len(body) - len(body.lstrip()), end - len(body) + len(body.rstrip())


def _main_position(section_starts: list[int], start: int, end: int) -> int:
    """Where to look for the heading: the start of the section that fills most of the chunk."""
    inside = section_starts[bisect_right(section_starts, start) : bisect_right(section_starts, end - 1)]
    edges = [start, *inside, end]
    longest = max(range(len(edges) - 1), key=lambda index: edges[index + 1] - edges[index])
    return edges[longest]


def _header(document: ParsedDocument, heading: str) -> str:
    """Title; parties; section; words of the file name: as many of them, and as much of the last, as fit."""
    parts = [document.title, *document.parties, heading, document.name_words]
    kept: list[str] = []
    room = HEADER_TOKENS
    for part in parts:
        words = part.split()
        while words and count_tokens(" ".join(words)) + 1 > room:
            words.pop()
        if words:
            kept.append(" ".join(words))
            room -= count_tokens(kept[-1]) + 1
    return "; ".join(kept)
