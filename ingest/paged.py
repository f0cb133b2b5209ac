"""Pages of paragraphs to one text: for files whose words stand on pages, drawn or read from pictures."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from ingest.draft import Draft
from ingest.pdf_lines import HYPHEN, Line
from ingest.pdf_paragraphs import Paragraph, has_ended
from ingest.types import PageLayout, Section, Word

_BROKEN_WORD = re.compile(rf"(\w*){HYPHEN}(\w*)")
_WORD = re.compile(r"\w+(?:-\w+)+|\w+")
_KEEPS_HYPHEN = {
    "all", "anti", "co", "cross", "full", "half", "high", "long", "low", "mid", "multi", "non", "post", "self", "short",
    "third", "two", "three", "four", "well",
}  # fmt: skip
_BETWEEN = " \n\t|-"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page before it is part of a text: its paragraphs, its size in points, and how well a picture was read."""

    paragraphs: list[Paragraph]
    width_pt: float
    height_pt: float
    ocr_confidence: float | None = None


def assemble(pages: list[Sheet], title: str, *, layouts: bool) -> Draft:
    """One text for all pages, with where each starts in it, and where each word stands if ``layouts``."""
    words = Counter(word for page in pages for item in page.paragraphs for word in _WORD.findall(item.text.lower()))
    body_size = _body_size(pages)
    sizes = sorted(
        {round(item.size) for page in pages for item in page.paragraphs if item.size > body_size * 1.12}, reverse=True
    )
    parts: list[str] = []
    length = 0
    starts = []
    sections = []
    placed = []
    previous: Paragraph | None = None
    for number, page in enumerate(pages, start=1):
        on_page: list[Word] = []
        for place, item in enumerate(page.paragraphs):
            if previous is not None:
                runs_on = place == 0 and not has_ended(previous.text) and re.match(r"[a-z(]", item.text)
                parts.append(" " if runs_on else item.separator)
                length += len(parts[-1])
            if place == 0:
                starts.append(length)
            text = _mend(item.text, words)
            if level := _heading_level(item, body_size, sizes):
                sections.append(Section(" ".join(text.split()), level, length))
            if layouts:
                on_page += place_words(item, text, length)
            parts.append(text)
            length += len(text)
            previous = item
        if not page.paragraphs:
            starts.append(length)
        placed.append(PageLayout(number, page.width_pt, page.height_pt, tuple(on_page), page.ocr_confidence))
    return Draft("".join(parts), tuple(sections), title, (0, *starts[1:]), layouts=tuple(placed) if layouts else ())


def place_words(item: Paragraph, text: str, start: int) -> list[Word]:
    """The words of a paragraph's lines, found again in its final ``text``, which begins at ``start``.

    Only spaces, bars and hyphens were added or taken out between them. Where that does not hold, the rest of the
    paragraph goes without boxes: no highlight rather than a wrong one.
    """
    placed: list[Word] = []
    position = 0
    for line in item.lines:
        if _is_plain(line):
            first = line.text[line.words[0].start : line.words[0].end]
            begin = position
            while begin < len(text) and text[begin] in _BETWEEN and not text.startswith(first, begin):
                begin += 1
            if text.startswith(line.text, begin):
                shift = start + begin
                placed += [Word(begins + shift, ends + shift, *box) for begins, ends, *box in line.words]
                position = begin + line.words[-1].end
                continue
        for span in line.words:
            characters = line.text[span.start : span.end]
            while not text.startswith(characters, position):
                if position >= len(text) or text[position] not in _BETWEEN:
                    return placed
                position += 1
            end = position + len(characters)
            placed.append(Word(start + position, start + end, span.left, span.top, span.right, span.bottom))
            position = end
    return placed


def _is_plain(line: Line) -> bool:
    """Whether a line that stands in the final text as it is has its words where it has them: spaces alone part them."""
    return bool(line.words) and "|" not in line.text and line.text.isprintable()


def _body_size(pages: list[Sheet]) -> float:
    weights: Counter[float] = Counter()
    for page in pages:
        for item in page.paragraphs:
            if item.size:
                weights[round(item.size, 1)] += len(item.text)
    return weights.most_common(1)[0][0] if weights else 0.0


def _heading_level(item: Paragraph, body_size: float, sizes: list[int]) -> int:
    """1 for the largest type, one more for bold type of the body's size, 0 when it is no heading."""
    text = item.text
    short = item.num_lines <= 3 and len(text.split()) <= 16 and re.search(r"[^\W\d_]{2}", text)
    if not short or text.rstrip().endswith((";", ",")) or " | " in text:
        return 0
    if item.size > body_size * 1.12:
        return sizes.index(round(item.size)) + 1
    if item.bold and not re.search(r"[.!?]\s+\w", text):
        return len(sizes) + 1
    return 0


def _mend(text: str, words: Counter[str]) -> str:
    """Rejoin words that were broken at a line end, keeping a hyphen that belongs to the word."""

    def join(match: re.Match[str]) -> str:
        first, second = match[1], match[2]
        whole, hyphened = words[(first + second).lower()], words[f"{first}-{second}".lower()]
        if whole != hyphened:
            return first + second if whole > hyphened else f"{first}-{second}"
        apart = first.lower() in _KEEPS_HYPHEN or not second[:1].islower() or not first[-1:].isalpha()
        return f"{first}-{second}" if apart else first + second

    return _BROKEN_WORD.sub(join, text)
