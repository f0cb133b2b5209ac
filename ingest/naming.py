"""What a document is called: its properties, its first heading, its first lines, or its file name."""

from __future__ import annotations

import re
from pathlib import PurePath

from ingest.types import Section

MAX_TITLE_CHARS = 100
_OPENING_CHARS = 4_000
_KIND = (
    r"(?:AGREEMENT|CONTRACT|LEASE|DEED|AMENDMENT|ADDENDUM|LICEN[CS]E|UNDERTAKING|GUARANTEE|GUARANTY|POLICY|PROTOCOL"
    r"|PROCEDURE|GUIDELINE|STATEMENT OF WORK|TERMS AND CONDITIONS|MEMORANDUM OF UNDERSTANDING|NOTICE)S?"
)
_SMALL = r"(?:and|of|the|to|for|in|on|or|by|with|a|an)"
_SMALL_WORDS = frozenset(["and", "of", "the", "to", "for", "in", "on", "or", "by", "with", "a", "an"])
_LETTERHEAD = re.compile(r"\b(?:trust|hospital|limited|ltd|llp|plc|inc|university|council|department)\.?$", re.I)
_WORD = r"(?:[A-Z0-9#][\w’'&.\-]*|&|\([A-Z][\w-]*\))"
_PHRASE = rf"{_WORD}(?:[,/]?\s+(?:{_WORD}|{_SMALL}|[-–/]))*"
_IN_PREAMBLE = re.compile(
    rf"\b(?:This|THIS)\s+(?P<title>(?:{_WORD}[,/]?\s+(?:{_SMALL}\s+){{0,2}}){{1,14}}?(?i:{_KIND})"
    rf"(?:\s+(?:FOR|for|OF|of|TO|to)(?:\s+the)?(?:\s+[A-Z][\w-]+){{1,6}})?)"
    r"\s*(?=[(,“\"]|is\b|dated\b|made\b|entered\b|effective\b)"
)
_IN_CAPITALS = re.compile(
    rf"\b(?P<title>(?:[A-Z0-9&#][A-Z0-9’'&/\-]*[,/]?[ \t]+(?:(?:and|of|the|for|to)[ \t]+)*){{0,10}}?{_KIND}"
    rf"(?:[ \t]+AND(?:[ \t]+[A-Z]+){{1,5}}?[ \t]+{_KIND})?"
    rf"(?:[ \t]+(?:OF|FOR|TO)(?:[ \t]+[A-Z][A-Z’'-]+)+)?)\b"
)
_NO_TITLE = re.compile(
    r"^(?:exhibit|ex[.-]|execution|confidential|strictly|draft|form\b|\[|page\b|source:|note:|table of contents|between"
    r"|and$|by and|dated?\b|copy\b|certain\b|portions\b|\*|private|contents|from:|to:|sent:|cc:|recitals?|background"
    r"|witness|whereas|this\s|english\s+translation)",
    re.I,
)
_DULL_PROPERTY = re.compile(
    r"^(?:untitled|document\d*|microsoft word|slide|title|\(anonymous\))|\.(?:docx?|pdf|txt|html?)$", re.I
)
_MAIL_SUBJECT = re.compile(r"\A(?:[A-Z][\w-]+:[^\n]*\n){0,6}?Subject:[ \t]*(?P<title>[^\n]+)")


def find_title(text: str, stated: str, sections: tuple[Section, ...], name: str) -> str:
    """The title of a document. ``stated`` is what its properties say; never longer than 100 characters, never empty."""
    stated = " ".join(stated.split())
    if " " in stated and not _DULL_PROPERTY.search(stated):
        return _short(stated)
    if sections and sections[0].start < 400 and not _NO_TITLE.match(sections[0].heading) and sections[0].level == 1:
        return _short(sections[0].heading)
    opening = text[:_OPENING_CHARS]
    if subject := _MAIL_SUBJECT.match(opening):
        return _short(subject["title"])
    return _short(_from_preamble(opening) or _first_line(opening) or _humanise(name) or "Document")


def _from_preamble(opening: str) -> str:
    """The name an agreement gives itself ("This Distributor Agreement (the “Agreement”)"), or stands under."""
    if named := _IN_PREAMBLE.search(opening):
        return _tidy(named["title"])
    for match in _IN_CAPITALS.finditer(opening[:1_500]):
        title = _tidy(match["title"])
        if len(title.split()) > 1 and not _NO_TITLE.match(title):
            return title
    return ""


def _first_line(opening: str) -> str:
    """The first short line in capitals or title case; a letterhead only when no such line follows it closely."""
    letterhead = ""
    for number, line in enumerate(opening.split("\n")[:12]):
        line = " ".join(line.split()).strip("-–—_=*#• ")
        if " | " in line or not _may_be_title(line):  # the names of a table's columns are not its title
            continue
        if not _LETTERHEAD.search(line):
            return line if not letterhead or number < 6 else letterhead
        letterhead = letterhead or line
    return letterhead


def _may_be_title(line: str) -> bool:
    words = line.split()
    if not 1 <= len(words) <= 14 or len(line) > MAX_TITLE_CHARS or line.endswith((",", ";")):
        return False
    if _NO_TITLE.match(line) or re.search(r"\d{4}", line) or not re.search(r"[^\W\d_]{3}", line):
        return False
    capital = sum(1 for word in words if word[:1].isupper() or word.lower() in _SMALL_WORDS)
    return capital * 3 >= len(words) * 2 or not line.endswith(".")


def _tidy(title: str) -> str:
    title = re.sub(
        r"^(?:(?:EXHIBIT|Exhibit|EXECUTION|Execution|VERSION|Version|COPY|Copy|CONFIDENTIAL|THIS|\d[\d.]*)\s+)+",
        "",
        title,
    )
    return " ".join(title.split())


def _short(title: str) -> str:
    if len(title) <= MAX_TITLE_CHARS:
        return title
    return title[:MAX_TITLE_CHARS].rsplit(" ", 1)[0].rstrip(",;:-")


def _humanise(name: str) -> str:
    """ "lease_unit-4.pdf" to "lease unit 4"."""
    stem = PurePath(name).stem
    stem = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem)
    stem = re.sub(r"-(?:\d{8}|\d\d-\d\d-\d{4})?-?.{0,12}EX-[\d.-]+", " ", stem)  # EDGAR's date and exhibit number
    return " ".join(re.split(r"[\s_.\-+]+", stem)).strip()


def name_words(name: str, known: str) -> str:
    """Words of the file's name that ``known`` lacks, without numbers and filing codes; "" when it adds nothing."""
    squeezed = re.sub(r"[^a-z0-9]", "", known.lower())
    words = [
        word
        for word in _humanise(name).split()
        if len(word) > 2 and not re.search(r"\d", word) and word.lower() not in squeezed
        and not re.fullmatch(r"(?:exhibit|final|copy|draft|scan|document|version|inc|corp|ltd|llc)", word, re.I)
    ]  # fmt: skip
    return " ".join(words[:6])
