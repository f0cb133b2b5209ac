"""What parsing and chunking hand to the rest of the appliance, and how they refuse.

Every offset in this module counts Unicode code points from the start of ``ParsedDocument.text``
and is half-open: ``text[start:end]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Page:
    """One page. Pages are contiguous and cover the text: the first starts at 0, the last ends at ``len(text)``."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and where it starts. ``level`` counts from 1, the outermost."""

    heading: str
    level: int
    start: int


class Word(NamedTuple):
    """A word of the text and where it stands on its page: a box in fractions of the page, from the top left.

    A tuple, because a long file has a million of them.
    """

    start: int
    end: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How a page of a PDF or an image looks: its size in points and its words, in text order.

    ``ocr_confidence`` is the mean of the words' confidences, 0 to 1, where they were read from a picture.
    """

    number: int
    width_pt: float
    height_pt: float
    words: tuple[Word, ...]
    ocr_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """A file inside the file: an attachment of an e-mail, a member of an archive. ``path`` holds its bytes."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a file and what is known about its shape.

    ``paginated`` is true when the pages are the file's own (PDF). Otherwise they are parts of about
    3,000 characters cut at paragraph ends, so that a citation can still say roughly where it is.
    ``name_words`` are words of the file's name that the title and parties lack. ``notes`` are plain sentences about
    what could not be read although the rest could (pages that are pictures). ``layouts`` are there for pages that
    can be shown as they look. ``children`` become documents of their own.
    """

    text: str
    pages: tuple[Page, ...]
    sections: tuple[Section, ...]
    title: str
    parties: tuple[str, ...]
    media_type: str
    paginated: bool
    name_words: str = ""
    notes: tuple[str, ...] = ()
    layouts: tuple[PageLayout, ...] = ()
    children: tuple[Child, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of ``ParsedDocument.text`` small enough for the embedder.

    ``text == document.text[start:end]``; ``page`` is the page on which it starts; ``heading`` is the heading
    path ("14. Term and termination", "" if none); ``indexed_text`` is a header (title; parties; section), a
    newline and ``text``: what is embedded and lexically indexed.
    """

    ordinal: int
    page: int
    start: int
    end: int
    text: str
    heading: str
    indexed_text: str


class IngestError(Exception):
    """A file that cannot be taken in.

    ``code`` is stable; ``permanent`` is true when trying the same bytes again cannot help; ``reason`` says in
    plain words what was refused and why, ``hint`` what to do next.
    """

    def __init__(self, code: str, reason: str, *, hint: str, permanent: bool = True) -> None:
        super().__init__(code, reason, hint, permanent)
        self.code = code
        self.reason = reason
        self.hint = hint
        self.permanent = permanent

    def __str__(self) -> str:
        return f"{self.reason} {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_error, (self.code, self.reason, self.hint, self.permanent)


def _rebuild_error(code: str, reason: str, hint: str, permanent: bool) -> IngestError:
    """Undo pickling: the parser runs in a child process and its refusal travels back."""
    return IngestError(code, reason, hint=hint, permanent=permanent)
