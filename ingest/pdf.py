"""PDF files: the text layer of each page that has one, the words of the picture of each that has none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ingest import ocr, refusals
from ingest.draft import Draft
from ingest.options import DEFAULT, Options
from ingest.paged import Sheet, assemble
from ingest.pdf_lines import Line, read_lines
from ingest.pdf_paragraphs import Paragraph, build_paragraphs

_PASSWORD_ERROR = 4
_SECURITY_ERROR = 5
_PATH, _IMAGE = 2, 3
_MANY_PATHS = 20
_FEW_LETTERS = 80
"""A page that is one picture with no more letters than this over it is a scan with a stamp, not a text."""
_MOST_OF_PAGE = 0.5
_MARGIN_SHARE = 0.12
_PAGE_NUMBER = re.compile(r"\bpage\s+\d+(?:\s+of\s+\d+)?|^\W*\d{1,4}(?:\s*(?:/|of)\s*\d{1,4})?\W*$", re.I)


@dataclass
class _Page:
    """A page as read: its lines, or, where those are few and a picture fills it, what the picture says."""

    lines: list[Line]
    width_pt: float
    height_pt: float
    is_picture: bool = False
    paragraphs: list[Paragraph] | None = None
    confidence: float | None = None
    late: bool = False


def parse_pdf(path: Path, *, name: str, options: Options = DEFAULT) -> Draft:
    """One text for the whole file, with where each page starts in it.

    Running headers and footers are kept where they first stand and left out of later pages, so that a sentence
    that runs over a page end stays whole. Raises IngestError: ``encrypted``, ``wrong_password``, ``damaged``,
    ``scanned``, ``ocr_unavailable``, ``too_large_unpacked``, ``no_text``.
    """
    import pypdfium2  # type: ignore[import-untyped]

    try:
        document = pypdfium2.PdfDocument(path, password=options.password)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in (_PASSWORD_ERROR, _SECURITY_ERROR):
            locked = refusals.encrypted if options.password is None else refusals.wrong_password
            raise locked(name, "PDF") from error
        raise refusals.damaged(name, "a PDF") from error
    try:
        pages = _read(document, name, options)
        title = str(document.get_metadata_dict().get("Title", ""))
    except pypdfium2.PdfiumError as error:
        raise refusals.damaged(name, "a PDF", "a page cannot be loaded") from error
    finally:
        document.close()
    _check_words(pages, name)
    body = _without_running_lines([[] if page.paragraphs is not None else page.lines for page in pages])
    sheets = [
        Sheet(
            build_paragraphs(lines) if page.paragraphs is None else page.paragraphs,
            page.width_pt,
            page.height_pt,
            page.confidence,
        )
        for page, lines in zip(pages, body, strict=True)
    ]
    draft = assemble(sheets, title, layouts=options.layouts)
    return replace(draft, notes=_notes(pages))


def _read(document: Any, name: str, options: Options) -> list[_Page]:
    pages = []
    can_read_pictures = ocr.available()
    for number in range(len(document)):
        page = document[number]
        try:
            width, height = page.get_size()
            read = _Page(read_lines(page, with_words=options.layouts), width, height)
            if _has_few_letters(read.lines) and _is_picture(page, read, name):
                read.is_picture = True
                if can_read_pictures:
                    _read_picture(page, read, options)
                    options.progress(number + 1, len(document))
            elif number % 50 == 49:
                options.progress(number + 1, len(document))
            pages.append(read)
        finally:
            page.close()
    return pages


def _has_few_letters(lines: Iterable[Line]) -> bool:
    letters = (character for line in lines for character in line.text if character.isalnum())
    return next(islice(letters, _FEW_LETTERS, None), None) is None


def _is_picture(page: Any, read: _Page, name: str) -> bool:
    """Whether what the page says stands in a picture, or in letters drawn as curves."""
    paths = 0
    largest = 0.0
    pictures = False
    for item in page.get_objects(max_depth=3):
        if item.type == _PATH:
            paths += 1
        elif item.type == _IMAGE:
            pictures = True
            pixels = item.get_px_size()
            if pixels[0] * pixels[1] > ocr.MAX_PIXELS:
                raise refusals.too_large_unpacked(
                    name, f"a picture in it has {pixels[0] * pixels[1] / 1e6:,.0f} million points"
                )
            left, bottom, right, top = item.get_bounds()
            largest = max(largest, abs((right - left) * (top - bottom)))
    if not any(character.isalnum() for line in read.lines for character in line.text):
        return pictures or paths > _MANY_PATHS
    return largest >= read.width_pt * read.height_pt * _MOST_OF_PAGE


def _read_picture(page: Any, read: _Page, options: Options) -> None:
    """Renders one page and reads it. What its thin text layer says is drawn over the picture, and so read too."""
    square_inches = max(read.width_pt * read.height_pt / 72**2, 1e-6)
    dpi = min(float(ocr.DPI), (ocr.MAX_RENDERED_PIXELS / square_inches) ** 0.5)
    bitmap = page.render(scale=dpi / 72, grayscale=True)
    try:
        picture = bitmap.to_pil()
        grey, width, height = picture.convert("L").tobytes(), picture.width, picture.height
    finally:
        bitmap.close()
    try:
        found = ocr.read_picture(grey, width, height, options.ocr_languages, dpi=round(dpi))
    except TimeoutError:
        read.late = True
        return
    if found.paragraphs:
        read.paragraphs, read.confidence = found.paragraphs, found.confidence


def _check_words(pages: list[_Page], name: str) -> None:
    """Raises the reason for which no page gave a word, if that is so."""
    if not pages:
        raise refusals.damaged(name, "a PDF", "it has no pages")
    texts = (item.text for page in pages for item in (page.lines if page.paragraphs is None else page.paragraphs))
    if any(re.search(r"\w", text) for text in texts):
        return
    if any(page.late for page in pages):
        raise refusals.too_slow(name, 100)
    if not any(page.is_picture for page in pages):
        raise refusals.no_text(name)
    raise refusals.scanned(name, len(pages)) if ocr.available() else refusals.ocr_unavailable(name)


def _notes(pages: list[_Page]) -> tuple[str, ...]:
    """What a reader should know about pages that were pictures."""
    unread = [n for n, page in enumerate(pages, start=1) if page.is_picture and page.paragraphs is None]
    unsure = [
        n for n, page in enumerate(pages, start=1)
        if page.confidence is not None and page.confidence < ocr.LOW_CONFIDENCE
    ]  # fmt: skip
    notes = []
    if unread:
        what = "are pictures without text and were not read"
        notes.append(f"{len(unread)} of {len(pages)} pages {what}: {', '.join(map(str, unread))}.")
    if unsure:
        what = "are pictures that could be read with little confidence only"
        notes.append(f"{len(unsure)} of {len(pages)} pages {what}: {', '.join(map(str, unsure))}.")
    return tuple(notes)


def _without_running_lines(pages: list[list[Line]]) -> list[list[Line]]:
    """Drop, after its first appearance, a line that stands in the margin of at least half of the pages."""
    tops = [line.top for page in pages for line in page]
    if len(pages) < 2 or not tops:
        return pages
    height = max(tops) - min(line.bottom for page in pages for line in page)
    high = max(tops) - height * _MARGIN_SHARE
    low = min(line.bottom for page in pages for line in page) + height * _MARGIN_SHARE
    counts = Counter(key for page in pages for key in {_running_key(line) for line in page if _outer(line, high, low)})
    running = {key for key, count in counts.items() if count >= max(2, len(pages) / 2)}
    seen: set[tuple[str, int]] = set()
    kept: list[list[Line]] = []
    for page in pages:
        kept.append([])
        for line in page:
            if _outer(line, high, low) and (key := _running_key(line)) in running:
                if key in seen:
                    continue
                seen.add(key)
            kept[-1].append(line)
    return kept


def _outer(line: Line, high: float, low: float) -> bool:
    return line.bottom >= high or line.top <= low


def _running_key(line: Line) -> tuple[str, int]:
    """Its words, with a page number taken out, and its height: text that only differs in numbers is not running."""
    return _PAGE_NUMBER.sub("#", line.text), round(line.top / 3)
