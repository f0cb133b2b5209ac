"""Lines of a PDF page with where they stand, read through PDFium.

Coordinates are PDF points from the page's lower left corner.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

HYPHEN = "\x02"
"""What PDFium writes for a hyphen at the end of a line, in place of the hyphen and the line end."""

CELL_MARK = " | "
CELL_GAP = 1.2
"""A space wider than this many line heights stands between two cells of a table."""

#: What PDFium writes differently in a whole text: hyphens at line ends, halves of pairs.
_ODD = re.compile("[\x00\x02\ud800-\udfff\ufffe\uffff]")
_NOTHING = {0x00, 0xFFFE, 0xFFFF}
#: What stands for a character that is none: left out of the text like the other, which may stand at no line's edge.
_BLANK, _BROKEN = "\x00", "\ud800"
_DROPPED = re.compile(f"[{_BLANK}{_BROKEN}]")
_LINE = re.compile(f"([^\n\r{HYPHEN}]*{HYPHEN}?)[\n\r]?")
_WORD = re.compile(rf"[^\s{HYPHEN}]+")
_SPACE = re.compile(" ")
_BOLD = re.compile(rb"bold|black|heavy|demi|medi\b", re.I)

Box = tuple[float, float, float, float]
"""left, top, right, bottom in points."""

#: The same C function with bare numbers for its arguments: it is called for both ends of every word.
_BOX_OF = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_RECTANGLE = struct.Struct("4f")


class Span(NamedTuple):
    """A word of a line, ``text[start:end]``, and its box in fractions of the page from the top left."""

    start: int
    end: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Line:
    """A run of characters on one line, maybe across cells of a table.

    ``cell_left`` is where its last cell starts; ``size`` is the height of its box; ``words`` are there when asked for.
    """

    text: str
    left: float
    cell_left: float
    right: float
    top: float
    bottom: float
    size: float
    bold: bool
    words: tuple[Span, ...] = ()

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


class _Characters:
    """The characters of a page in PDFium, and by how many degrees the page is turned when it is shown.

    `boxes` has those that were fetched, by the character's place.
    """

    def __init__(self, raw: Any, textpage: Any, rotation: int) -> None:
        self.rotation = rotation
        self._raw = raw
        self._textpage = textpage.raw
        self._num_chars = int(textpage.count_chars())
        self._handle = ctypes.cast(self._textpage, ctypes.c_void_p)
        self._box_of = _BOX_OF(ctypes.cast(raw.FPDFText_GetLooseCharBox, ctypes.c_void_p).value or 0)
        self.boxes: dict[int, Box] = {}
        self._name = ctypes.create_string_buffer(128)

    def text(self) -> str:
        """One code point for each character: `_BLANK` or `_BROKEN` where there is none that can be shown."""
        bulk = (ctypes.c_ushort * (self._num_chars + 1))()
        written = self._raw.FPDFText_GetText(self._textpage, 0, self._num_chars, bulk)
        if written != self._num_chars + 1:  # some character was left out, or takes two units
            return "".join(self._character(index) for index in range(self._num_chars))
        text = bytes(bulk)[: 2 * self._num_chars].decode("utf-16-le", "surrogatepass")
        if len(text) != self._num_chars:
            return "".join(self._character(index) for index in range(self._num_chars))
        return _ODD.sub(lambda match: self._character(match.start()), text)

    def _character(self, index: int) -> str:
        code = self._raw.FPDFText_GetUnicode(self._textpage, index)
        if code in _NOTHING:
            return _BLANK
        return _BROKEN if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)

    def fetch(self, indices: Sequence[int]) -> None:
        """Reads the boxes of many characters."""
        buffer = (ctypes.c_float * (4 * len(indices)))()
        box_of, handle, address = self._box_of, self._handle.value, ctypes.addressof(buffer)
        size = _RECTANGLE.size
        for index in indices:
            box_of(handle, index, address)
            address += size
        self.boxes.update(zip(indices, _RECTANGLE.iter_unpack(buffer), strict=True))

    def plain_box(self, index: int) -> Box:
        """A character's box, as high as its font, in the page's own space; all 0 where it has none."""
        if index not in self.boxes:
            self.fetch([index])
        return self.boxes[index]

    def box(self, index: int) -> Box:
        """The same on the page as it is shown."""
        if not self.rotation:
            return self.boxes.get(index) or self.plain_box(index)
        left, top, right, bottom = self.plain_box(index)
        match self.rotation:
            case 90:
                return bottom, -left, top, -right
            case 180:
                return -right, -bottom, -left, -top
            case 270:
                return -top, right, -bottom, left
        return left, top, right, bottom

    def is_bold(self, index: int) -> bool:
        """Whether its font is, by its name or its weight."""
        flags = ctypes.c_int()
        self._raw.FPDFText_GetFontInfo(self._textpage, index, self._name, 128, flags)
        return bool(_BOLD.search(self._name.value)) or self._raw.FPDFText_GetFontWeight(self._textpage, index) >= 600


class _Run(NamedTuple):
    """The characters of a line: `indices` among the page's, and `text`, one code point for each."""

    start: int
    end: int
    indices: Sequence[int]
    text: str
    words: list[tuple[int, int]]


def read_lines(page: Any, *, with_words: bool = False) -> list[Line]:
    """The lines of a ``pypdfium2.PdfPage`` in the order in which the file draws them."""
    import pypdfium2.raw as raw  # type: ignore[import-untyped]

    place = Placing(raw, page) if with_words else None
    textpage = page.get_textpage()
    try:
        characters = _Characters(raw, textpage, page.get_rotation())
        runs = list(_runs(characters.text()))
        wanted = [index for run in runs for index in (run.start, run.end - 1)]
        for run in runs:
            indices = run.indices
            for first, end in run.words:
                wanted += indices[first], indices[end - 1]
        characters.fetch(wanted)
        return [_line(characters, run, place) for run in runs]
    finally:
        textpage.close()


def _runs(text: str) -> Iterable[_Run]:
    """What stands between two line ends and is not empty; a hyphen at its end belongs to it."""
    for match in _LINE.finditer(text):
        line = match[1].strip(" " + _BLANK)
        if not line:
            continue
        start = match.start() + match[1].index(line)
        end = start + len(line)
        indices: Sequence[int] = range(start, end)
        if _DROPPED.search(line):
            indices = [at for at in indices if not _DROPPED.match(text, at)]
            line = _DROPPED.sub("", line)
        yield _Run(start, end, indices, line, [word.span() for word in _WORD.finditer(line)])


def _line(characters: _Characters, run: _Run, place: Placing | None) -> Line:
    left, top, _, bottom = characters.box(run.start)
    size = max(top - bottom, 1.0)
    last = run.end - 2 if run.text.endswith(HYPHEN) and run.end - run.start > 1 else run.end - 1
    right = characters.box(last)[2]
    gaps = [
        match.start()
        for match in _SPACE.finditer(run.text)
        if _gap(characters, run.indices[match.start()]) > size * CELL_GAP
    ]
    text, cell_left = run.text, left
    if gaps:
        for at in reversed(gaps):
            text = text[:at] + CELL_MARK + text[at + 1 :]
        cell_left = characters.box(run.indices[gaps[-1]] + 1)[0]
    words = () if place is None else _words(characters, run, gaps, place)
    return Line(text, left, cell_left, right, top, min(bottom, top), size, characters.is_bold(run.start), words)


def _words(characters: _Characters, run: _Run, gaps: list[int], place: Placing) -> tuple[Span, ...]:
    """The words of a line, counted in its text, where some spaces are wider than in the run."""
    indices, boxes, fractions = run.indices, characters.boxes, place.fractions
    words = []
    shift = passed = 0
    for first, end in run.words:
        while passed < len(gaps) and gaps[passed] < first:
            passed += 1
            shift += len(CELL_MARK) - 1
        words.append(Span(first + shift, end + shift, *fractions(boxes[indices[first]], boxes[indices[end - 1]])))
    return tuple(words)


class Placing:
    """From points in the page's own space, which may be shifted and turned, to fractions of the page as shown."""

    _UNITS = 1_000_000

    def __init__(self, raw: Any, page: Any) -> None:
        origin, right, up = (self._shown(raw, page, x, y) for x, y in ((0, 0), (1_000, 0), (0, 1_000)))
        self._origin = origin
        self._x = ((right[0] - origin[0]) / 1_000, (right[1] - origin[1]) / 1_000)
        self._y = ((up[0] - origin[0]) / 1_000, (up[1] - origin[1]) / 1_000)
        # Nearly every page: to the right is to the right, and up is up.
        self._is_upright = self._x[1] == 0 and self._y[0] == 0 and self._x[0] >= 0 and self._y[1] <= 0
        self._upright = (origin[0], self._x[0], origin[1], self._y[1])

    def fractions(self, first: Box, last: Box) -> Box:
        """Left, top, right, bottom of what encloses two boxes."""
        left, top, right, bottom = first
        left_2, top_2, right_2, bottom_2 = last
        if self._is_upright and left <= right <= right_2 and left <= left_2 <= right_2:
            high = top if top > top_2 else top_2
            low = bottom if bottom < bottom_2 else bottom_2
            if low <= high:
                x, x_x, y, y_y = self._upright
                return (
                    _within(x + left * x_x), _within(y + high * y_y), _within(x + right_2 * x_x), _within(y + low * y_y)
                )  # fmt: skip
        corners = ((left, top), (right, bottom), (left_2, top_2), (right_2, bottom_2))
        across = [self._origin[0] + x * self._x[0] + y * self._y[0] for x, y in corners]
        down = [self._origin[1] + x * self._x[1] + y * self._y[1] for x, y in corners]
        return _within(min(across)), _within(min(down)), _within(max(across)), _within(max(down))

    def _shown(self, raw: Any, page: Any, x: float, y: float) -> tuple[float, float]:
        across, down = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, self._UNITS, self._UNITS, 0, x, y, across, down)
        return across.value / self._UNITS, down.value / self._UNITS


def _within(fraction: float) -> float:
    return 0.0 if fraction < 0.0 else 1.0 if fraction > 1.0 else fraction


def _gap(characters: _Characters, space: int) -> float:
    """Points between the characters on both sides of a space; 0 where they are not on one line."""
    _, top, right, _ = characters.box(space - 1)
    left, next_top, _, _ = characters.box(space + 1)
    return left - right if abs(top - next_top) < 3 else 0.0
