"""A filter as the address holds it, read into what `audit.filters` looks for, and shown as chips.

Each value that is given must mean something: what does not is told to the reader, and nothing is listed.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from appliance.accounts.models import Group, Membership, User
from appliance.audit.filters import About, Filter, FilterRefused
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Entity, text_digest
from appliance.documents.access import titles_for_review
from appliance.documents.models import BreakGlass, Collection
from appliance.lib.errors import ApplianceError
from appliance.ops.audit.names import NOBODY

#: The longest value that is looked at; ids, names and dates are all shorter.
_LONGEST = 200
#: A part of a name that more people have than this is no filter.
_MOST_PEOPLE = 500
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: Not part of the filter.
_BESIDE = {"before", "said"}


@dataclass(frozen=True, slots=True)
class Chip:
    """One part of the filter in words, and the address without it."""

    label: str
    text: str
    without: str


@dataclass(slots=True)
class Asked:
    """What was asked for. `filter` is None when a value means nothing; `problems` then says which and why."""

    query: str
    chips: list[Chip] = field(default_factory=list)
    filter: Filter | None = None
    problems: list[ApplianceError] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)
    entities: tuple[Entity, ...] = ()


@dataclass(slots=True)
class _Parts:
    """A filter being put together."""

    values: dict[str, Any] = field(default_factory=dict)
    about: list[About] = field(default_factory=list)
    actors: set[uuid.UUID] | None = None
    people: set[uuid.UUID] = field(default_factory=set)

    def only(self, actors: set[uuid.UUID]) -> None:
        """Further narrows who acted."""
        self.actors = actors if self.actors is None else self.actors & actors


def values_of(given: QueryDict) -> dict[str, str]:
    """What an address gives, without what is empty."""
    return {name: str(value) for name, value in given.items() if str(value).strip()}


def read(given: QueryDict) -> Asked:
    """The filter of an address, with its chips. Raises nothing: see `Asked.problems`."""
    values = {name: value for name, value in values_of(given).items() if name not in _BESIDE}
    asked = Asked(address(values))
    parts = _Parts()
    for name, value in values.items():
        label, text = name, value.strip()[:_LONGEST]
        try:
            if name not in _READERS:
                raise FilterRefused(f"There is no filter named “{name[:40]}”.", hint="Remove it.")
            label, reader = _READERS[name]
            text, kept = reader(text, parts)
            asked.detail[name] = kept
        except FilterRefused as refused:
            asked.problems.append(refused)
        asked.chips.append(Chip(label, text, address({k: v for k, v in values.items() if k != name})))
    if asked.problems:
        return asked
    try:
        actors = None if parts.actors is None else tuple(sorted(parts.actors))
        asked.filter = Filter(actors=actors, about=tuple(parts.about), **parts.values)
    except FilterRefused as refused:
        asked.problems.append(refused)
    if len(parts.people) <= 20:
        asked.entities = tuple(Entity("user", str(pk)) for pk in sorted(parts.people))
    return asked


def address(values: Mapping[str, str]) -> str:
    """The part of an address after its question mark, in the order of the form."""
    query = QueryDict(mutable=True)
    for name in sorted(values, key=lambda name: (_ORDER.get(name, len(_ORDER)), name)):
        query[name] = values[name].strip()[:_LONGEST]
    return query.urlencode()


def _uuid(value: str, what: str, hint: str) -> uuid.UUID:
    found = _UUID.search(value)
    if found is None:
        raise FilterRefused(f"“{value}” is no {what}.", hint=hint)
    return uuid.UUID(found[0])


def _person(value: str, parts: _Parts) -> tuple[str, str]:
    if value in NOBODY:
        parts.values["without_person"] = value
        return NOBODY[value], value
    like = Q(display_name__icontains=value) | Q(username__icontains=value)
    found = list(User.objects.filter(like).values_list("pk", flat=True)[: _MOST_PEOPLE + 1])
    if len(found) > _MOST_PEOPLE:
        raise FilterRefused(
            f"More than {_MOST_PEOPLE} people have a name with “{value}”.", hint="Write more of the name."
        )
    if not found:
        raise FilterRefused(f"Nobody has a name with “{value}”.", hint="Check how it is written.")
    parts.only(set(found))
    parts.people |= set(found)
    return f"{value} ({len(found):,} people)" if len(found) > 1 else _called(found[0]), text_digest(value)


def _by(value: str, parts: _Parts) -> tuple[str, str]:
    pk = _uuid(value, "number of a person", "Follow the link in an event of theirs.")
    parts.only({pk})
    parts.people.add(pk)
    return _called(pk), str(pk)


def _called(pk: uuid.UUID) -> str:
    user = User.objects.filter(pk=pk).first()
    return str(user) if user else str(pk)


def _concerns(value: str, parts: _Parts) -> tuple[str, str]:
    pk = _uuid(value, "number of a person", "Follow the link in an event of theirs.")
    parts.values["concerns"] = pk
    parts.people.add(pk)
    return _called(pk), str(pk)


def _group(value: str, parts: _Parts) -> tuple[str, str]:
    pk = _uuid(value, "number of a group", "Choose a group from the list.")
    group = Group.objects.filter(pk=pk).first()
    if group is None:
        raise FilterRefused("There is no such group any more.", hint="Choose a group from the list.")
    parts.only(set(Membership.objects.filter(group=group).values_list("user_id", flat=True)))
    return group.name, str(pk)


def _document(value: str, parts: _Parts) -> tuple[str, str]:
    pk = _uuid(value, "number or address of a document", "Copy it from an event, or from the document’s address.")
    parts.about.append((("document", (str(pk),)),))
    return titles_for_review([pk]).get(str(pk), str(pk)), str(pk)


def _collection(value: str, parts: _Parts) -> tuple[str, str]:
    pk = _uuid(value, "number of a collection", "Choose a collection from the list.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT reading_room_documents_of(%s)::text", [pk])
        documents = tuple(row[0] for row in cursor.fetchall())
    parts.about.append((("collection", (str(pk),)), ("document", documents)))
    name = Collection.objects.filter(pk=pk).values_list("name", flat=True).first()
    return name or str(pk), str(pk)


def _reference(value: str, parts: _Parts) -> tuple[str, str]:
    found = BreakGlass.objects.filter(reference__icontains=value).values_list("pk", flat=True)
    parts.about.append((("break_glass", tuple(str(pk) for pk in found)),))
    return value, text_digest(value)


def _glass(value: str, parts: _Parts) -> tuple[str, str]:
    if value != "yes":
        raise FilterRefused("Emergency access is looked for with “yes”.", hint="Remove it, and tick the box.")
    found = BreakGlass.objects.values_list("pk", flat=True)
    parts.about.append((("break_glass", tuple(str(pk) for pk in found)),))
    return "only under it", value


def _type(value: str, parts: _Parts) -> tuple[str, str]:
    parts.values["type"] = value
    return _choice(value, EventType, "type of event"), value


def _outcome(value: str, parts: _Parts) -> tuple[str, str]:
    parts.values["outcome"] = value
    return _choice(value, Outcome, "outcome"), value


def _choice(value: str, choices: type[EventType] | type[Outcome], what: str) -> str:
    if value not in choices.values:
        raise FilterRefused(f"“{value}” is no {what}.", hint="Choose one from the list.")
    return str(choices(value).label)


def _action(value: str, parts: _Parts) -> tuple[str, str]:
    if not all(part.isidentifier() and part.isascii() for part in value.split(".")):
        raise FilterRefused(f"“{value}” is no act.", hint="Acts are written like document.page: see an event.")
    parts.values["action"] = value
    return value, value


def _question(value: str, parts: _Parts) -> tuple[str, str]:
    pk = _uuid(value, "number of a question", "Follow the link in one of its events.")
    parts.values["question"] = pk
    return f"{str(pk)[:8]} …", str(pk)


def _from(value: str, parts: _Parts) -> tuple[str, str]:
    moment = parts.values["start"] = _moment(value, end=False)
    return _in_words(value, moment), value


def _to(value: str, parts: _Parts) -> tuple[str, str]:
    moment = parts.values["end"] = _moment(value, end=True)
    return _in_words(value, moment), value


def _moment(value: str, *, end: bool) -> datetime:
    """A day, which as an end is included, or a time, in the site's time zone."""
    try:
        if day := parse_date(value):
            return timezone.make_aware(datetime.combine(day + timedelta(days=end), time()))
        if moment := parse_datetime(value):
            return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    except (ValueError, OverflowError):
        pass
    raise FilterRefused(f"“{value}” is no date.", hint="Write it like 2026-11-20, or 2026-11-20T14:30.")


def _in_words(value: str, moment: datetime) -> str:
    if day := parse_date(value):
        return f"{day.day} {day:%B %Y}"
    local = timezone.localtime(moment)
    return f"{local.day} {local:%B %Y, %H:%M}"


#: name in the address -> (label of its chip, reader: (value, parts) -> (text of the chip, what the audit keeps)).
_READERS: dict[str, tuple[str, Callable[[str, _Parts], tuple[str, str]]]] = {
    "person": ("Person", _person),
    "by": ("By", _by),
    "concerns": ("By or about", _concerns),
    "group": ("Group", _group),
    "document": ("Document", _document),
    "collection": ("Collection", _collection),
    "reference": ("Matter or patient", _reference),
    "glass": ("Emergency access", _glass),
    "type": ("Event", _type),
    "action": ("Act", _action),
    "outcome": ("Result", _outcome),
    "question": ("Question", _question),
    "from": ("From", _from),
    "to": ("Until", _to),
}
_ORDER = {name: place for place, name in enumerate(_READERS)}
FIELDS = tuple(_READERS)
#: Written or ticked in the form; the others are chosen from menus and links.
WRITTEN = ("person", "document", "reference", "glass", "action", "from", "to")
