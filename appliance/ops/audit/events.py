"""The pages of events: the list with its filter, and one event beside it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET

from appliance.accounts.models import Group
from appliance.accounts.sessions import actor_of, current_user
from appliance.audit import review, saved
from appliance.audit.filters import FilterRefused
from appliance.audit.models import AuditEntity, AuditEvent, EventType, Outcome
from appliance.documents.models import Collection
from appliance.ops.audit import asking
from appliance.ops.audit.asking import Asked
from appliance.ops.audit.names import Names, names_in, officers_only
from appliance.ops.audit.seal import seal_of

#: A menu of more names than this is of no use: then the address names the one.
_MOST_CHOICES = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One event in the list."""

    event: AuditEvent
    who: str
    about: str
    num_passages: int


@dataclass(frozen=True, slots=True)
class Shown:
    """A document in an event, with the places of it that were shown, page by page."""

    name: str
    document_id: str
    version: int | None
    places: list[tuple[int | None, int]]


@require_GET
@officers_only
def events(request: HttpRequest) -> HttpResponse:
    given = asking.values_of(request.GET)
    if len(given) < len(request.GET):  # fields of the form that were left empty
        query = asking.address({name: value for name, value in given.items() if name != "before"})
        return HttpResponseRedirect(f"/audit?{query}" if query else "/audit")
    context = list_context(request)
    template = "audit/_events.html" if request.headers.get("HX-Request") else "audit/audit.html"
    return render(request, template, context, status=400 if context["asked"].problems else 200)


@require_GET
@officers_only
def event(request: HttpRequest, uid: uuid.UUID) -> HttpResponse:
    opened = review.open_event(uid)
    review.record_opening(opened.event, actor=actor_of(request))
    names = names_in([opened.event, *opened.related], opened.entities)
    context = {
        "opened": opened,
        "who": names.actor(opened.event),
        "shown": _shown(opened.entities, names),
        "others": [
            (e.kind, names.of(e), e.object_id) for e in opened.entities if e.kind not in ("document", "break_glass")
        ],
        "glass": list(dict.fromkeys(e.object_id for e in opened.entities if e.kind == "break_glass")),
        "permalink": request.build_absolute_uri(request.path),
    }
    if request.headers.get("HX-Request"):
        return render(request, "audit/_event.html", context)
    return render(request, "audit/audit.html", list_context(request) | context)


def list_context(request: HttpRequest) -> dict[str, Any]:
    """What the list shows, recorded as looked at."""
    asked = asking.read(request.GET)
    found = _page(request, asked)
    names = names_in(found.events, [entity for event in found.events for entity in event.entities.all()])
    return {
        "lines": [_line(event, names) for event in found.events],
        "next_before": found.next_before,
        "asked": asked,
        "given": request.GET,
        "menus": _menus(request),
        "kept": [(n, v) for n, v in request.GET.items() if n in asking.FIELDS and n not in asking.WRITTEN],
        "seal": seal_of(),
        "saved_filters": saved.of(current_user(request).pk),
        "tab": "events",
    }


def _page(request: HttpRequest, asked: Asked) -> review.EventPage:
    if asked.filter is None:
        return review.EventPage([], None)
    review.record_look(asked.detail, entities=asked.entities, actor=actor_of(request))
    given = request.GET.get("before", "")
    try:
        if given and not (given.isascii() and given.isdigit() and len(given) < 19):
            raise FilterRefused("There is no page from there on.", hint="Begin with the newest events again.")
        return review.events(asked.filter, before=int(given) if given else None)
    except FilterRefused as refused:
        asked.problems.append(refused)
        return review.EventPage([], None)


@dataclass(frozen=True, slots=True)
class Menu:
    """A part of the filter that is chosen from a list: (text, address, whether it is chosen)."""

    label: str
    choices: list[tuple[str, str, bool]]


def _menus(request: HttpRequest) -> list[Menu]:
    kept = {name: value for name, value in asking.values_of(request.GET).items() if name in asking.FIELDS}

    def menu(label: str, name: str, choices: Iterable[tuple[Any, str]]) -> Menu:
        return Menu(
            label,
            [
                (text, asking.address(kept | {name: str(value)}), kept.get(name) == str(value))
                for value, text in choices
            ],
        )

    collections = Collection.objects.order_by("name").values_list("pk", "name")[:_MOST_CHOICES]
    groups = Group.objects.order_by("name").values_list("pk", "name")[:_MOST_CHOICES]
    found = [
        menu("Event", "type", EventType.choices),
        menu("Result", "outcome", Outcome.choices),
        menu("Collection", "collection", collections),
        menu("Group", "group", groups),
    ]
    return [menu for menu in found if menu.choices]


def _line(event: AuditEvent, names: Names) -> Line:
    entities = list(event.entities.all())
    documents = [entity for entity in entities if entity.kind == "document"]
    titles = list(dict.fromkeys(_titled(names.of(entity), entity.version) for entity in documents))
    others = [names.of(entity) for entity in entities if entity.kind in {"collection", "user", "group"}]
    named = titles or list(dict.fromkeys(others))
    about = "; ".join(named[:2]) + (f" and {len(named) - 2} more" if len(named) > 2 else "")
    passages = sum(entity.start is not None for entity in documents)
    return Line(event, names.actor(event), about, passages)


def _titled(title: str, version: int | None) -> str:
    return f"{title}, v{version}" if version else title


def _shown(entities: Iterable[AuditEntity], names: Names) -> list[Shown]:
    grouped: dict[tuple[str, int | None], dict[int | None, int]] = {}
    called: dict[str, str] = {}
    for entity in entities:
        if entity.kind == "document":
            called[entity.object_id] = names.of(entity)
            pages = grouped.setdefault((entity.object_id, entity.version), {})
            pages[entity.page] = pages.get(entity.page, 0) + (entity.start is not None)
    return [
        Shown(called[pk], pk, version, sorted(pages.items(), key=lambda place: place[0] or 0))
        for (pk, version), pages in grouped.items()
    ]
