"""One file to one ParsedDocument."""

from __future__ import annotations

import re
from pathlib import Path

from ingest import kinds, refusals
from ingest.draft import Draft
from ingest.headings import find_headings
from ingest.media import HEAD_BYTES, detect_media_type
from ingest.naming import find_title, name_words
from ingest.options import DEFAULT, Options
from ingest.pages import pages_from_starts, synthetic_pages
from ingest.parties import find_parties
from ingest.types import ParsedDocument

_FEW_SECTIONS = 2
#: Types of which a pattern that looks like a heading is a coincidence: their own headings are all there are.
_NO_PROSE = frozenset([kinds.XLSX, kinds.XLS, kinds.CSV, kinds.TSV, kinds.JSON, kinds.XML, kinds.ZIP])
_PAGE_NUMBER = re.compile(
    r"\W*(?:page|slide|sheet|seite|folie|blatt|página|pagina|diapositiva|strona|sida|side|стр\w*)\W*\d{1,5}"
    r"(?:\W+(?:of\W+|von\W+|de\W+|di\W+|z\W+|av\W+)?\d{1,5})?\W*",
    re.IGNORECASE,
)


def parse(path: Path, *, name: str, options: Options = DEFAULT) -> ParsedDocument:
    """Parse the file at ``path`` which its uploader calls ``name``.

    Reads nothing but ``path``, opens no connection, and gives the same result for the same bytes and name. Meant to
    run in a child process with limits on memory and time. Raises IngestError for any file it does not take (the
    codes are listed in ``ingest.refusals``) and OSError when ``path`` cannot be read.
    """
    path = _unlocked(path, name, options)
    media_type = _media_type(path, name)
    draft = _draft(path, media_type, name, options)
    text = draft.text
    if not re.search(r"\w", text):
        raise refusals.no_text(name)
    if not draft.children and _only_numbers_pages(text):
        raise refusals.no_text(name, besides="the numbers of its pages")
    sections = draft.sections
    if len(sections) < _FEW_SECTIONS and media_type not in _NO_PROSE:
        sections = find_headings(text) or sections
    parties = find_parties(text)
    title = find_title(text, draft.title, draft.sections, name)
    return ParsedDocument(
        text=text,
        pages=synthetic_pages(text) if draft.page_starts is None else pages_from_starts(draft.page_starts, len(text)),
        sections=sections,
        title=title,
        parties=parties,
        media_type=media_type,
        paginated=draft.page_starts is not None,
        name_words=name_words(name, " ".join((title, *parties))),
        notes=draft.notes,
        layouts=draft.layouts,
        children=draft.children,
    )


def _only_numbers_pages(text: str) -> bool:
    """Whether every line is a page's number in words ("Slide 2 of 7"): then the file holds nothing that can be found.

    Numbers alone do not count as such: a table of them, or a code, is what its file is for.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    return all(len(line) < 60 and _PAGE_NUMBER.fullmatch(line) for line in lines)


def _media_type(path: Path, name: str) -> str:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return detect_media_type(head, name, path)


def _unlocked(path: Path, name: str, options: Options) -> Path:
    """The file itself, or an Office document out of the container that its password keeps shut."""
    from ingest.containers import OLE_SIGNATURE

    with path.open("rb") as file:
        if file.read(len(OLE_SIGNATURE)) != OLE_SIGNATURE:
            return path
    media_type = _media_type(path, name)
    if media_type == kinds.MSG:
        return path
    from ingest.locked_office import unlock

    return unlock(path, media_type, name, options.password)


def _draft(path: Path, media_type: str, name: str, options: Options) -> Draft:
    """Each parser is imported when it is first needed: a worker that only sees PDFs never loads the others."""
    match media_type:
        case kinds.PDF:
            from ingest.pdf import parse_pdf

            return parse_pdf(path, name=name, options=options)
        case kinds.DOCX:
            from ingest.word import parse_docx

            return parse_docx(path, name=name)
        case kinds.HTML:
            from ingest.markup import parse_html

            return parse_html(path, name=name)
        case kinds.MARKDOWN:
            from ingest.markup import parse_markdown

            return parse_markdown(path, name=name)
        case kinds.XLSX:
            from ingest.sheets import parse_xlsx

            return parse_xlsx(path, name=name)
        case kinds.XLS:
            from ingest.sheets import parse_xls

            return parse_xls(path, name=name)
        case kinds.CSV | kinds.TSV:
            from ingest.tables import parse_delimited

            return parse_delimited(path, tabs=media_type == kinds.TSV)
        case kinds.PPTX:
            from ingest.slides import parse_pptx

            return parse_pptx(path, name=name)
        case kinds.DOC | kinds.PPT:
            from ingest.old_office import parse_old_office

            return parse_old_office(path, media_type, name=name)
        case kinds.EML:
            from ingest.mail import parse_eml

            return parse_eml(path, name=name, options=options)
        case kinds.MSG:
            from ingest.outlook import parse_msg

            return parse_msg(path, name=name, options=options)
        case kinds.ZIP:
            from ingest.archive import parse_zip

            return parse_zip(path, name=name, options=options)
        case kinds.XML:
            from ingest.structured import parse_xml

            return parse_xml(path, name=name)
        case kinds.JSON:
            from ingest.structured import parse_json

            return parse_json(path, name=name)
        case kinds.RTF:
            from ingest.old_office import installed, parse_old_office
            from ingest.pandoc import parse_with_pandoc

            if installed():
                return parse_old_office(path, media_type, name=name)
            return parse_with_pandoc(path, media_type, name=name)
        case kinds.ODT | kinds.EPUB | kinds.RST:
            from ingest.pandoc import parse_with_pandoc

            return parse_with_pandoc(path, media_type, name=name)
        case kinds.PNG | kinds.JPEG | kinds.TIFF | kinds.HEIC:
            from ingest.pictures import parse_picture

            return parse_picture(path, media_type, name=name, options=options)
    from ingest.plain_text import parse_plain_text

    return parse_plain_text(path)
