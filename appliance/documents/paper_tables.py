"""The rows of a table as ingest writes them, found again in the text: "Keep for: 18 months | Record: Payroll".

The first line names the columns where the lines below repeat its names, or where it holds words only. Nothing of the
text is dropped: names that are repeated and the bars between cells belong to the cells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BAR = re.compile(r" \| ")
_LEAST_LINES = 2
_MAX_NAME_CHARS = 120
_DIGIT = re.compile(r"\d")

Piece = tuple[int, int]  # offsets in the text, half-open


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a cell's own words, its column's name before them and the bar behind them lie. `span` counts columns."""

    name: Piece
    value: Piece
    bar: Piece
    is_header: bool = False
    span: int = 1


Line = tuple[Cell, ...]


def first_line_of_table(text: str, lines: Sequence[Piece]) -> int | None:
    """The index of the first of these lines that belongs to a table; None when there is none among them."""
    barred = [index for index, line in enumerate(lines) if BAR.search(text, *line)]
    return barred[0] if len(barred) >= _LEAST_LINES else None


def table_of(text: str, lines: Sequence[Piece]) -> list[Line]:
    """The rows of a table, each as wide as the widest: cells stand under the column whose name they repeat."""
    split = [_pieces(text, line) for line in lines]
    names = [text[start:end].strip() for start, end in split[0]]
    labelled = [[_named(text, piece, names) for piece in pieces] for pieces in split[1:]]
    repeated = any(column is not None for row in labelled for column in row)
    headed = repeated or all(_is_name(name) for name in names)
    width = max(len(pieces) for pieces in split)
    table = [_line(text, split[0], [None] * len(split[0]), names, width, is_header=headed)]
    for pieces, columns in zip(split[1:], labelled, strict=True):
        table.append(_line(text, pieces, columns if repeated else [None] * len(pieces), names, width))
    return table


def _pieces(text: str, line: Piece) -> list[Piece]:
    """The cells of a line, without the bars between them."""
    start, end = line
    pieces = []
    for bar in BAR.finditer(text, start, end):
        pieces.append((start, bar.start()))
        start = bar.end()
    return [*pieces, (start, end)]


def _named(text: str, piece: Piece, names: Sequence[str]) -> int | None:
    """The column whose name the cell repeats: "Team: Blues" stands under "Team"."""
    for column, name in enumerate(names):
        if name and text.startswith(f"{name}: ", piece[0], piece[1]):
            return column
    return None


def _is_name(cell: str) -> bool:
    return bool(cell) and len(cell) <= _MAX_NAME_CHARS and not _DIGIT.search(cell)


def _line(
    text: str,
    pieces: Sequence[Piece],
    columns: Sequence[int | None],
    names: Sequence[str],
    width: int,
    *,
    is_header: bool = False,
) -> Line:
    cells: list[Cell] = []
    at = 0  # columns filled so far
    for index, ((start, end), column) in enumerate(zip(pieces, columns, strict=True)):
        left = len(pieces) - index
        while column is not None and at < column and at + left < width:
            cells.append(Cell((start, start), (start, start), (start, start)))  # nothing stands in this column
            at += 1
        last = index == len(pieces) - 1
        bar = (end, end) if last else (end, pieces[index + 1][0])
        split = start + len(names[column]) + 2 if column is not None else start
        cells.append(Cell((start, split), (split, end), bar, is_header, max(width - at, 1) if last else 1))
        at += 1
    return tuple(cells)
