"""The audit as a compliance officer reads it: who was shown what. Never a question, an answer or a passage.

It lives here because it names people and documents, and `audit` may import neither.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from appliance.accounts.models import Group, Role, User
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.audit import review
from appliance.audit.models import AuditEntity, AuditEvent, EventType
from appliance.documents.access import titles_for_review as titles
from appliance.documents.models import Collection
from appliance.lib.errors import NotFound


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


@dataclass(frozen=True, slots=True)
class Names:
    """What ids are called now. What was deleted keeps its id."""

    people: dict[str, str]
    documents: dict[str, str]
    collections: dict[str, str]
    groups: dict[str, str]

    def actor(self, event: AuditEvent) -> str:
        if event.actor_id is None:
            return "The appliance" if event.actor_name == "system" else "Not signed in"
        return self.people.get(str(event.actor_id), event.actor_name)

    def of(self, entity: AuditEntity) -> str:
        known = {
            "document": self.documents,
            "collection": self.collections,
            "user": self.people,
            "group": self.groups,
        }.get(entity.kind, {})
        return known.get(entity.object_id, entity.object_id)


def officers_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For compliance officers; to others there is no such page."""

    @page
    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not current_user(request).has_role(Role.COMPLIANCE_OFFICER):
            raise NotFound()
        return view(request, *args, **kwargs)

    return wrapper


def _names(events: Iterable[AuditEvent], entities: Iterable[AuditEntity]) -> Names:
    ids: dict[str, set[uuid.UUID]] = {kind: set() for kind in ("user", "document", "collection", "group")}
    ids["user"] |= {event.actor_id for event in events if event.actor_id}
    for entity in entities:
        if entity.kind in ids:
            ids[entity.kind].add(uuid.UUID(entity.object_id))
    return Names(
        people={str(user.pk): str(user) for user in User.objects.filter(pk__in=ids["user"])},
        documents=titles(ids["document"]),
        collections={str(pk): name for pk, name in _pairs(Collection, ids["collection"], "name")},
        groups={str(pk): name for pk, name in _pairs(Group, ids["group"], "name")},
    )


def _pairs(model: type[Collection] | type[Group], ids: set[uuid.UUID], name: str) -> Any:
    return model._default_manager.filter(pk__in=ids).values_list("pk", name)


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


def _wanted(request: HttpRequest) -> review.Filter:
    person = request.GET.get("person", "").strip()[:150]
    ids = User.objects.filter(display_name__icontains=person).values_list("pk", flat=True)[:200] if person else []
    document = request.GET.get("document", "").strip().rsplit("/", 1)[-1][:64]
    kind = request.GET.get("type", "")
    return review.Filter(person, tuple(ids), kind if kind in EventType.values else "", document)


def _list_context(request: HttpRequest) -> dict[str, Any]:
    wanted = _wanted(request)
    given = request.GET.get("before", "")
    before = int(given) if given.isascii() and given.isdigit() and len(given) < 19 else None
    review.record_look(wanted, actor=actor_of(request))
    found = review.events(wanted, before=before)
    names = _names(found.events, [entity for event in found.events for entity in event.entities.all()])
    keep = request.GET.copy()
    keep.pop("before", None)
    return {
        "lines": [_line(event, names) for event in found.events],
        "next_before": found.next_before,
        "wanted": wanted,
        "types": EventType.choices,
        "keep": keep.urlencode(),
    }


@require_GET
@officers_only
def events(request: HttpRequest) -> HttpResponse:
    template = "audit/_events.html" if request.headers.get("HX-Request") else "audit/audit.html"
    return render(request, template, _list_context(request))


@require_GET
@officers_only
def event(request: HttpRequest, uid: uuid.UUID) -> HttpResponse:
    opened = review.open_event(uid)
    review.record_opening(opened.event, actor=actor_of(request))
    names = _names([opened.event, *opened.related], opened.entities)
    context = {
        "opened": opened,
        "who": names.actor(opened.event),
        "shown": _shown(opened.entities, names),
        "others": [(e.kind, names.of(e)) for e in opened.entities if e.kind != "document"],
        "details": sorted((opened.evidence.get("detail") or {}).items()),
    }
    if request.headers.get("HX-Request"):
        return render(request, "audit/_event.html", context)
    return render(request, "audit/audit.html", _list_context(request) | context)


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
