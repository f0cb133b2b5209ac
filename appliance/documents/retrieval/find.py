"""Finding words as they stand: exact, whatever their case, or by a regular expression, in documents a person may see.

Runs of white space in the words match any run of white space in the text. Regular expressions are PostgreSQL's, kept
to a subset that cannot run away, and everything runs under a deadline of the database's own.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DataError, OperationalError, connection, transaction
from django.db.models import F, Q, QuerySet

from appliance.accounts.models import User
from appliance.audit.record import Entity
from appliance.documents.access import access_document, documents_for
from appliance.documents.models import Document, VersionText
from appliance.documents.outline import Outline
from appliance.documents.search import scope_of
from appliance.lib.errors import BadRequest, NotFound

MAX_PATTERN_CHARS = 200
MAX_OFFSET = 1_000
MAX_LIMIT = 200
_DEADLINE_MS = 5_000
_AROUND = 60
_MAX_REPEAT = 50

_BACK_REFERENCE = re.compile(r"\\[1-9]")
_LOOKING = re.compile(r"\(\?[=!<]")
_BOUND = re.compile(r"\{(\d*)(?:,(\d*))?\}")
_REPEATED_GROUP = re.compile(r"\)\s*(?:[*+]|\{)")

# Where the matches of one text lie: from the end of each on to the next.
_PLACES = """
WITH RECURSIVE place (number, first, after) AS (
    SELECT 1, regexp_instr(t.text, %(pattern)s, 1, 1, 0, 'i'), regexp_instr(t.text, %(pattern)s, 1, 1, 1, 'i')
    FROM documents_versiontext AS t WHERE t.version_id = %(version)s
    UNION ALL
    SELECT number + 1, regexp_instr(t.text, %(pattern)s, greatest(after, first + 1), 1, 0, 'i'),
           regexp_instr(t.text, %(pattern)s, greatest(after, first + 1), 1, 1, 'i')
    FROM place, documents_versiontext AS t
    WHERE t.version_id = %(version)s AND first > 0 AND number < %(limit)s AND after <= length(t.text)
)
SELECT first - 1, after - 1 FROM place WHERE first > 0 ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Match:
    """One place: `start` and `end` are code-point offsets in the version's text; `before`, `after` stand around it."""

    document_id: uuid.UUID
    version: int
    title: str
    page: int
    start: int
    end: int
    before: str
    found: str
    after: str

    def entity(self) -> Entity:
        """The place, with what is shown around it, as the audit names it."""
        start, end = self.start - len(self.before), self.end + len(self.after)
        return Entity("document", str(self.document_id), version=self.version, page=self.page, start=start, end=end)

    def as_dict(self) -> dict[str, Any]:
        """The place as REST shows it."""
        return {
            "document": str(self.document_id),
            "version": self.version,
            "title": self.title,
            "page": self.page,
            "start": self.start,
            "end": self.end,
            "before": self.before,
            "text": self.found,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class Found:
    """Matches by title and place. `next_offset` is None when there are no more."""

    matches: list[Match]
    next_offset: int | None


def find(
    user: User,
    words: str,
    *,
    regex: bool = False,
    document_id: uuid.UUID | str | None = None,
    collection_ids: Sequence[uuid.UUID | str] = (),
    offset: int = 0,
    limit: int = 50,
) -> Found:
    """Every place that has `words`, in one document, the named collections, or all that `user` may see.

    Raises NotFound for what the user may not see, and BadRequest for an empty, too long or dangerous pattern, for
    a page beyond the first 1,000 matches, and (`find_too_slow`) when the deadline passes. Not audited here.
    """
    words = words.replace("\x00", "").strip()
    if not words:
        raise BadRequest("There is nothing to find.", code="find_empty")
    if len(words) > MAX_PATTERN_CHARS:
        raise BadRequest(f"At most {MAX_PATTERN_CHARS} characters can be found at once.", code="find_too_long")
    if not 0 <= offset <= MAX_OFFSET or not 1 <= limit <= MAX_LIMIT:
        raise BadRequest(f"offset lies between 0 and {MAX_OFFSET}, limit between 1 and {MAX_LIMIT}.")
    if regex:
        check_pattern(words)
    documents = documents_for(user).filter(current_version__isnull=False)
    if document_id is not None:
        documents = documents.filter(pk=access_document(user, document_id).pk)
    if collection_ids:
        documents = documents.filter(collection__in=scope_of(user, collection_ids))
    matches: list[Match] = []
    with _deadline() as still_time:
        for text, document in _texts(documents, words, regex=regex):
            still_time()
            wanted = offset + limit + 1 - len(matches)
            places = _by_pattern(text.pk, words, wanted) if regex else _by_words(text.text, words, wanted)
            matches += [_match(text, document, start, end) for start, end in places]
            if len(matches) > offset + limit:
                break
    page = matches[offset : offset + limit]
    return Found(page, offset + limit if len(matches) > offset + limit else None)


def check_pattern(pattern: str) -> None:
    """Refuses regular expressions that can take time or memory out of all proportion (BadRequest, `unsafe_pattern`)."""
    plain = re.sub(r"\\[^1-9]", "", pattern)
    bounds = [int(number) for match in _BOUND.finditer(plain) for number in match.groups() if number]
    reason = ""
    if _BACK_REFERENCE.search(pattern):
        reason = "it refers back to a group"
    elif _LOOKING.search(plain):
        reason = "it looks ahead or behind"
    elif any(bound > _MAX_REPEAT for bound in bounds):
        reason = f"it repeats something more than {_MAX_REPEAT} times"
    elif _REPEATED_GROUP.search(plain):
        reason = "it repeats a group"
    if reason:
        raise BadRequest(
            f"This regular expression is not taken, since {reason}.",
            hint="Use a simpler expression, such as words joined by | or single characters with + or *.",
            code="unsafe_pattern",
        )


@contextmanager
def _deadline() -> Iterator[Callable[[], None]]:
    """One deadline for all statements together, kept by the database. Gives what to call between two of them."""
    end = time.monotonic() + _DEADLINE_MS / 1_000

    def still_time() -> None:
        left_ms = int((end - time.monotonic()) * 1_000)
        if left_ms <= 0:
            raise _too_slow()
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(left_ms)])

    try:
        with transaction.atomic():
            still_time()
            yield still_time
    except OperationalError as error:
        if "statement timeout" not in str(error):
            raise
        raise _too_slow() from None
    except DataError:
        raise BadRequest("This regular expression cannot be read.", code="invalid_pattern") from None


def _too_slow() -> BadRequest:
    return BadRequest(
        "Looking through these documents took too long.",
        hint="Name a collection or a document, or look for a longer word.",
        code="find_too_slow",
    )


def _texts(documents: QuerySet[Document], words: str, *, regex: bool) -> Iterator[tuple[VersionText, Document]]:
    """Texts that may hold a match, by title: the access rule and the test are one statement."""
    if regex:
        condition = Q(current_version__content__text__iregex=words)
    else:
        word = max(words.split(), key=len)
        condition = Q(current_version__content__text__icontains=word)
        for spelled in (word.lower(), word.upper(), word.title()):  # a database may fold only ASCII
            condition |= Q(current_version__content__text__contains=spelled)
    found = documents.filter(condition).annotate(version_id=F("current_version")).select_related("current_version")
    for document in found[: MAX_OFFSET + MAX_LIMIT + 1]:
        text = VersionText.objects.filter(pk=document.current_version_id).first()
        if text is not None:
            yield text, document


def _by_words(text: str, words: str, limit: int) -> list[tuple[int, int]]:
    pattern = re.compile(r"\s+".join(re.escape(word) for word in words.split()), re.IGNORECASE)
    places = []
    for match in pattern.finditer(text):
        places.append(match.span())
        if len(places) >= limit:
            break
    return places


def _by_pattern(version_id: int, pattern: str, limit: int) -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_PLACES, {"pattern": pattern, "version": version_id, "limit": limit})
        return [(start, end) for start, end in cursor.fetchall() if end > start]


def _match(text: VersionText, document: Document, start: int, end: int) -> Match:
    outline = Outline(tuple((page_start, number) for number, page_start, _ in text.pages))
    version = document.current_version
    if version is None:  # the query asks for documents that have one
        raise NotFound()
    return Match(
        document_id=document.pk,
        version=version.n,
        title=document.title,
        page=outline.page_at(start),
        start=start,
        end=end,
        before=text.text[max(0, start - _AROUND) : start],
        found=text.text[start:end],
        after=text.text[end : end + _AROUND],
    )
