"""What a report is asked for, as a form or a command gives it. What means nothing is refused in words."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, time, timedelta

from django.db import connection
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date

from appliance.accounts.models import User
from appliance.audit.record import Entity
from appliance.documents.access import titles_for_review
from appliance.documents.models import BreakGlass, Collection
from appliance.lib.errors import BadRequest
from appliance.ops.reports.model import Kind, Of, Period, Subject

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: What each report can be about.
ABOUT = {
    Kind.DISCLOSURES: (Of.DOCUMENT, Of.COLLECTION, Of.PERSON, Of.REFERENCE),
    Kind.SUBJECT: (Of.PERSON,),
    Kind.ACCESS: (Of.COLLECTION,),
}


class ReportRefused(BadRequest):
    """It is not clear what the report is to be about, or how it is to be written."""

    code = "report_refused"


def kind_named(name: str) -> Kind:
    """Raises ReportRefused."""
    if name not in Kind.values:
        raise ReportRefused(f"There is no report named “{name[:40]}”.", hint=f"Choose {', '.join(Kind.values)}.")
    return Kind(name)


def subject_named(kind: Kind, of: str, value: str) -> Subject:
    """Whom or what the report is about. Raises ReportRefused."""
    value = " ".join(value.split())[:200]
    if of not in {str(known) for known in ABOUT[kind]}:
        raise ReportRefused(
            f"This report is not about a {of[:40] or 'thing without a kind'}.",
            hint=f"Choose {', '.join(ABOUT[kind])}.",
        )
    if not value:
        raise ReportRefused("Whom or what is the report about?", hint="Write a name, a number or a reference.")
    return _READERS[Of(of)](value)


def period_between(first: str, last: str) -> Period:
    """Two days, the last included; each may be empty. Raises ReportRefused."""
    start, end = _day(first), _day(last)
    found = Period(start, end + timedelta(days=1) if end else None)
    if found.start and found.end and found.start >= found.end:
        raise ReportRefused("The time ends before it begins.", hint="Change one of the two days.")
    return found


def _day(value: str) -> datetime | None:
    if not value.strip():
        return None
    try:
        day = parse_date(value.strip())
    except ValueError:
        day = None
    if day is None or not 2000 <= day.year <= 9000:
        raise ReportRefused(f"“{value[:40]}” is no day.", hint="Write it like 2026-11-20.")
    return timezone.make_aware(datetime.combine(day, time()))


def _person(value: str) -> Subject:
    found = _UUID.fullmatch(value)
    named = Q(pk=value) if found else Q(username__iexact=value) | Q(display_name__iexact=value)
    people = list(User.objects.filter(named)[:2])
    if not people:
        raise ReportRefused(f"Nobody is named “{value}”.", hint="Write the whole name, or the account’s name.")
    if len(people) > 1:
        raise ReportRefused(f"More than one person is named “{value}”.", hint="Write the account’s name.")
    person = people[0]
    name = f"{person} ({person.username})"
    return Subject(Of.PERSON, name, (Entity("user", str(person.pk)),), person=person.pk)


def _document(value: str) -> Subject:
    found = _UUID.search(value)
    if found is None:
        raise ReportRefused(
            f"“{value}” is no number or address of a document.", hint="Copy it from an event or from its page."
        )
    pk = str(uuid.UUID(found[0]))
    name = titles_for_review([uuid.UUID(pk)]).get(pk, pk)  # what was deleted keeps its number
    return Subject(Of.DOCUMENT, name, (Entity("document", pk),), documents=frozenset({pk}))


def _collection(value: str) -> Subject:
    found = _UUID.search(value)  # in its number or address, and perhaps in its name
    collection = Collection.objects.filter(name=value).first()
    if collection is None and found:
        collection = Collection.objects.filter(pk=found[0]).first()
    if collection is None:
        raise ReportRefused(f"There is no collection named “{value}”.", hint="Write its whole name.")
    return Subject(
        Of.COLLECTION,
        collection.name,
        (Entity("collection", str(collection.pk)),),
        collection=collection.pk,
        documents=documents_of(collection.pk),
    )


def _reference(value: str) -> Subject:
    broken = list(BreakGlass.objects.filter(reference__iexact=value).order_by("started_at"))
    if not broken:
        raise ReportRefused(
            f"No emergency access names “{value}”.",
            hint="A reference is what was given with emergency access. For all else, ask by document or collection.",
        )
    documents = frozenset[str]().union(*(documents_of(pk) for pk in {glass.collection_id for glass in broken}))
    entities = tuple(Entity("break_glass", str(glass.pk)) for glass in broken[:50])
    return Subject(Of.REFERENCE, value, entities, documents=documents, glass=tuple(glass.pk for glass in broken))


def documents_of(collection: uuid.UUID) -> frozenset[str]:
    """Ids of what is in a collection, for a compliance officer who may read none of it; to others, nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reading_room_documents_of(%s)::text", [collection])
        return frozenset(row[0] for row in cursor.fetchall())


_READERS = {Of.PERSON: _person, Of.DOCUMENT: _document, Of.COLLECTION: _collection, Of.REFERENCE: _reference}
