"""What the ids in events are called now, and who may look at them."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from appliance.accounts.models import Group, Role, User
from appliance.accounts.sessions import current_user, page
from appliance.audit.models import AuditEntity, AuditEvent
from appliance.documents.access import titles_for_review as titles
from appliance.documents.models import Collection
from appliance.lib.errors import NotFound

#: Who acts without being a person here.
NOBODY = {"system": "The appliance", "command": "A command on the machine"}
NAMED = ("user", "document", "collection", "group")


@dataclass(frozen=True, slots=True)
class Names:
    """What ids are called now. What was deleted keeps its id."""

    people: dict[str, str]
    documents: dict[str, str]
    collections: dict[str, str]
    groups: dict[str, str]

    def actor(self, event: AuditEvent) -> str:
        if event.actor_id is None:
            return NOBODY.get(event.actor_name, "Not signed in")
        return self.people.get(str(event.actor_id), event.actor_name)

    def of(self, entity: AuditEntity) -> str:
        return self.called(entity.kind, entity.object_id)

    def called(self, kind: str, object_id: str) -> str:
        """A thing's name, or its id where it has none."""
        known = {
            "document": self.documents,
            "collection": self.collections,
            "user": self.people,
            "group": self.groups,
        }.get(kind, {})
        return known.get(object_id, object_id)


def officers_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """For compliance officers; to others there is no such page."""

    @page
    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not current_user(request).has_role(Role.COMPLIANCE_OFFICER):
            raise NotFound()
        return view(request, *args, **kwargs)

    return wrapper


def names_in(events: Iterable[AuditEvent], entities: Iterable[AuditEntity]) -> Names:
    """Names of everybody and everything in these events."""
    things = [(entity.kind, entity.object_id) for entity in entities]
    people = [("user", str(event.actor_id)) for event in events if event.actor_id]
    return names_of([*things, *people])


def names_of(things: Iterable[tuple[str, str]]) -> Names:
    """Names of things given as (kind, id)."""
    ids: dict[str, set[uuid.UUID]] = {kind: set() for kind in NAMED}
    for kind, object_id in things:
        if kind in ids:
            ids[kind].add(uuid.UUID(object_id))
    return Names(
        people={str(user.pk): str(user) for user in User.objects.filter(pk__in=ids["user"])},
        documents=titles(ids["document"]) if ids["document"] else {},
        collections=_by_name(Collection, ids["collection"]),
        groups=_by_name(Group, ids["group"]),
    )


def _by_name(model: type[Collection] | type[Group], ids: set[uuid.UUID]) -> dict[str, str]:
    found = model._default_manager.filter(pk__in=ids).values_list("pk", "name") if ids else ()
    return {str(pk): name for pk, name in found}
