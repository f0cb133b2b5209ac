"""The pages of walls: all, one with its history, building and changing one after a look at what it would do."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST

from appliance.accounts.models import Approval, Role
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.audit.models import AuditEntity, AuditEvent
from appliance.documents.access import documents_for, titles_for_review
from appliance.documents.grants import forms, walls
from appliance.documents.grants import preview as previewing
from appliance.documents.grants.views import sensitive
from appliance.documents.models import Document, Wall
from appliance.lib.errors import ApplianceError, NotFound
from appliance.lib.redirects import see_other
from appliance.lib.request_id import current_request_id

_SHOWN_EVENTS = 200


def _refused(request: HttpRequest, error: ApplianceError, **context: Any) -> HttpResponse:
    if isinstance(error, NotFound) and error.public_code != "principal_not_found":
        raise error
    status = 422 if error.http_status in (400, 404) else error.http_status
    template = "documents/walls_one.html" if context.get("wall") else "documents/walls.html"
    full = context | {"error": error, "form": request.POST, "request_id": current_request_id()}
    return render(request, template, full, status=status)


def _all(request: HttpRequest) -> dict[str, Any]:
    user = current_user(request)
    if not walls.may_build(user):
        raise NotFound()
    return {"walls": walls.walls_for(user), "choices": walls.collections_to_wall(user), "form": {}}


def _one(request: HttpRequest, wall: Wall) -> dict[str, Any]:
    user = current_user(request)
    members = list(wall.members.select_related("user", "group"))
    targets = list(wall.targets.select_related("collection"))
    documents = {target.document_id for target in targets if target.document_id}
    officer = user.has_role(Role.COMPLIANCE_OFFICER)
    named = titles_for_review(documents) if officer else {}
    if not officer:
        named = {
            str(pk): title for pk, title in documents_for(user).filter(pk__in=documents).values_list("pk", "title")
        }
    events = AuditEvent.objects.filter(
        pk__in=AuditEntity.objects.filter(kind="wall", object_id=str(wall.pk)).values("event")
    )
    chosen = {target.collection_id for target in targets if target.collection_id}
    waiting = Approval.objects.filter(kind__in=(walls.CHANGE, walls.LIFT), change__wall=str(wall.pk), decision="")
    return {
        "wall": wall,
        "members": members,
        "collections": [target.collection for target in targets if target.collection],
        "documents": [(str(pk), named.get(str(pk), "A document that you may not read")) for pk in sorted(documents)],
        "choices": walls.collections_to_wall(user),
        "chosen": chosen,
        "owns": wall.owner_id == user.pk and wall.lifted_at is None,
        "waiting": waiting,
        "events": events.order_by("-pk").defer("canonical")[:_SHOWN_EVENTS],
        "num_refused": events.filter(action="wall.refused").count(),
        "form": {
            "users": "\n".join(sorted(member.user.username for member in members if member.user)),
            "groups": "\n".join(sorted(member.group.name for member in members if member.group)),
            "documents": "\n".join(map(str, sorted(documents))),
        },
    }


def _preview(request: HttpRequest, reach: walls.Reach, old: Wall | None, address: str) -> HttpResponse:
    """What the wall in the form would do, with everything it says put in place and taken back."""
    user, actor = current_user(request), actor_of(request)
    was = walls.reach_of(old) if old else walls.Reach()
    people = previewing.concerned(users=reach.users | was.users, groups=reach.groups | was.groups)
    documents = Document.objects.filter(pk__in=reach.documents | was.documents).values_list("collection_id", flat=True)

    def change() -> None:
        if old is None:
            walls.do_build_wall(
                request.POST.get("name", ""), request.POST.get("reason", ""), reach, acting_user=user, actor=actor
            )
        else:
            walls.rebuild(old, reach)

    within = reach.collections | was.collections | set(documents)
    found = previewing.preview(change, people=people, collections=within)
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        for value in values
        if name not in ("csrfmiddlewaretoken", "preview")
    ]
    name = old.name if old else request.POST.get("name", "")
    context = {"preview": found, "what": f"Wall {name}", "action": address, "back": address, "fields": fields}
    return render(request, "documents/preview.html", context)


@require_http_methods(["GET", "POST"])
@page
@sensitive
def all_walls(request: HttpRequest) -> HttpResponse:
    """The walls one may know of. POST builds one, or with `preview` says what it would do."""
    context = _all(request)
    if request.method == "GET":
        return render(request, "documents/walls.html", context)
    try:
        reach = forms.wanted_reach(request.POST)
        if "preview" in request.POST:
            return _preview(request, reach, None, "/walls")
        wall = walls.do_build_wall(
            request.POST.get("name", ""),
            request.POST.get("reason", ""),
            reach,
            acting_user=current_user(request),
            actor=actor_of(request),
        )
    except ApplianceError as error:
        chosen = {str(pk) for pk in request.POST.getlist("collection")}
        return _refused(
            request, error, **context | {"chosen": {c.pk for c in context["choices"] if str(c.pk) in chosen}}
        )
    return see_other(f"/walls/{wall.pk}")


@require_http_methods(["GET", "POST"])
@page
@sensitive
def one(request: HttpRequest, wall_id: uuid.UUID) -> HttpResponse:
    """One wall and what happened at it. POST changes it, or with `preview` says what that would do."""
    wall = walls.access_wall(current_user(request), wall_id)
    address = f"/walls/{wall.pk}"
    if request.method == "GET":
        return render(request, "documents/walls_one.html", _one(request, wall))
    try:
        reach = forms.wanted_reach(request.POST)
        if "preview" in request.POST and wall.owner_id == current_user(request).pk:
            return _preview(request, reach, wall, address)
        walls.do_change_wall(wall, reach, acting_user=current_user(request), actor=actor_of(request))
    except ApplianceError as error:
        return _refused(request, error, **_one(request, wall))
    return see_other(address)


@require_POST
@page
@sensitive
def lift(request: HttpRequest, wall_id: uuid.UUID) -> HttpResponse:
    """Asks for the wall to be lifted."""
    wall = walls.access_wall(current_user(request), wall_id)
    walls.do_lift_wall(wall, acting_user=current_user(request), actor=actor_of(request))
    return see_other(f"/walls/{wall.pk}")
