"""A page of extracted text as it is drawn: headings, clauses, tables, paragraphs, with the quoted passage marked.

Blocks cut the text at line ends only and drop nothing but white space, so that the marks of a page, joined,
are the quote of the citation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from appliance.documents import paper_tables
from appliance.documents.paper_tables import Line, Piece

_CLAUSE = re.compile(r"(\d{1,3}(?:\.\d{1,3})+\.?|\d{1,3}\.|\([a-z]{1,4}\)|[-•*])[ \t]+(?=\S)")
_SENTENCE_END = re.compile(r"[.;:!?”\"]\s*\Z")
_VERBATIM = re.compile(r"\t|\S {3,}\S|\|.*\|")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text, inside or outside the quoted passage."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class PaperCell:
    """A cell of a table. `name` repeats its column's name and `bar` parts it from the next: both are in the text."""

    name: tuple[Run, ...]
    value: tuple[Run, ...]
    bar: tuple[Run, ...]
    is_header: bool
    span: int


@dataclass(frozen=True, slots=True)
class PaperBlock:
    """What one element of the page shows. `label` is a clause's number or a list item's sign.

    `depth` counts a heading's level from 0, never more than one below the heading before. `rows` are those of a table;
    their runs, joined, are `runs`.
    """

    kind: str  # "heading", "clause", "table", "verbatim" or "paragraph"
    runs: tuple[Run, ...]
    label: tuple[Run, ...] = ()
    depth: int = 0
    rows: tuple[tuple[PaperCell, ...], ...] = ()


@dataclass(slots=True)
class _Stretch:
    start: int
    end: int
    level: int = 0  # of a heading, from 1
    lines: list[tuple[int, int]] = field(default_factory=list)


def blocks_of(
    text: str,
    *,
    offset: int,
    sections: Iterable[tuple[str, int, int]],
    mark_start: int | None = None,
    mark_end: int | None = None,
) -> list[PaperBlock]:
    """The blocks of a page whose text begins at `offset` in its version.

    All offsets are code points in the version's text; the passage may begin or end on another page.
    """
    headings = {start - offset: level for _, level, start in sections}
    marked = (0, 0)
    if mark_start is not None and mark_end is not None:
        marked = (mark_start - offset, mark_end - offset)
    blocks: list[PaperBlock] = []
    levels = sorted(set(headings.values()))
    depth = -1
    for stretch in _stretches(text, headings):
        if stretch.level:
            depth = min(levels.index(stretch.level), depth + 1)
        blocks += _blocks(text, stretch, marked, max(depth, 0))
    return blocks


def has_mark(blocks: Iterable[PaperBlock]) -> bool:
    """Whether any of the quoted passage is on the page."""
    return any(run.marked for block in blocks for run in (*block.label, *block.runs))


def _lines(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    for line in text.split("\n"):
        yield position, position + len(line)
        position += len(line) + 1


def _stretches(text: str, headings: dict[int, int]) -> Iterator[_Stretch]:
    """Paragraphs: cut at blank lines, headings, clause numbers, and after a short line ending a sentence."""
    lines = list(_lines(text))
    widest = max((end - start for start, end in lines), default=0)
    current: _Stretch | None = None
    for start, end in lines:
        if not text[start:end].strip():
            if current:
                yield current
            current = None
            continue
        level = next((level for head, level in headings.items() if start <= head < max(end, start + 1)), 0)
        barred = paper_tables.BAR.search(text, start, end) is not None
        begins = level > 0 or current is None or current.level > 0
        begins = begins or (not barred and _CLAUSE.match(text, start, end) is not None)
        if not begins and current is not None and not barred:
            last_start, last_end = current.lines[-1]
            short = last_end - last_start < 0.7 * widest
            begins = short and bool(_SENTENCE_END.search(text, last_start, last_end))
        if begins or current is None:
            if current:
                yield current
            current = _Stretch(start, end, level)
        current.end = end
        current.lines.append((start, end))
    if current:
        yield current


def _blocks(text: str, stretch: _Stretch, marked: tuple[int, int], depth: int) -> Iterator[PaperBlock]:
    start, end = stretch.start, stretch.end
    if stretch.level:
        yield PaperBlock("heading", _runs(text, start, end, marked), depth=depth)
        return
    first = paper_tables.first_line_of_table(text, stretch.lines)
    if first is not None:
        if first:
            above = _Stretch(start, stretch.lines[first - 1][1], lines=stretch.lines[:first])
            yield _block(text, above, marked)
        yield _table(text, paper_tables.table_of(text, stretch.lines[first:]), marked)
        return
    yield _block(text, stretch, marked)


def _table(text: str, lines: list[Line], marked: tuple[int, int]) -> PaperBlock:
    def runs(piece: Piece) -> tuple[Run, ...]:
        return _runs(text, *piece, marked) if piece[0] < piece[1] else ()

    rows = tuple(
        tuple(PaperCell(runs(cell.name), runs(cell.value), runs(cell.bar), cell.is_header, cell.span) for cell in line)
        for line in lines
    )
    every = tuple(run for row in rows for cell in row for run in (*cell.name, *cell.value, *cell.bar))
    return PaperBlock("table", every, rows=rows)


def _block(text: str, stretch: _Stretch, marked: tuple[int, int]) -> PaperBlock:
    start, end = stretch.start, stretch.end
    clause = _CLAUSE.match(text, start, end)
    if clause:
        label = _runs(text, start, clause.end(1), marked)
        return PaperBlock("clause", _runs(text, clause.end(), end, marked), label)
    if any(_VERBATIM.search(text, *line) for line in stretch.lines):
        return PaperBlock("verbatim", _runs(text, start, end, marked))
    return PaperBlock("paragraph", _runs(text, start, end, marked))


def _runs(text: str, start: int, end: int, marked: tuple[int, int]) -> tuple[Run, ...]:
    low, high = max(start, marked[0]), min(end, marked[1])
    if low >= high:
        return (Run(text[start:end], False),)
    pieces = (Run(text[start:low], False), Run(text[low:high], True), Run(text[high:end], False))
    return tuple(piece for piece in pieces if piece.text)
