"""Groups, and what they are mapped to: roles, and grants on collections. For administrators, who read none of these.

It lives here because it names people and collections, and `accounts` may not import `documents`.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from appliance.accounts import people as acts
from appliance.accounts.models import Group, Membership, Role, RoleGrant, User
from appliance.accounts.people_views import administrators_only, person_by, said, to_change
from appliance.accounts.sessions import actor_of, current_user
from appliance.documents.actions import do_grant
from appliance.documents.grants.actions import Wanted, do_add_grant, do_remove_grant, removable_grant
from appliance.documents.grants.preview import concerned, preview, removal
from appliance.documents.models import Collection, Effect, Grant, GrantRole
from appliance.lib.errors import ApplianceError, BadRequest, Conflict, NotFound

_SHOWN = 200


@require_GET
@administrators_only
def groups(request: HttpRequest) -> HttpResponse:
    return _groups(request)


def _groups(request: HttpRequest, **more: Any) -> HttpResponse:
    search = request.GET.get("q", "").replace("\x00", "")[:150].strip()
    found = Group.objects.filter(name__icontains=search) if search else Group.objects.all()
    listed = found.annotate(size=Count("members", distinct=True)).order_by("name").prefetch_related("role_grants")
    allowed = Grant.objects.filter(group__isnull=False, collection__isnull=False, effect=Effect.ALLOW)
    collections: dict[uuid.UUID | None, list[str]] = {}
    for grant in allowed.select_related("collection").order_by("collection__name"):
        collections.setdefault(grant.group_id, []).append(str(grant.collection))
    context = {
        "groups": [(group, collections.get(group.pk, [])) for group in listed[:_SHOWN]],
        "total": found.count(),
        "shown": _SHOWN,
        "search": search,
        "said": request.GET.get("said", "")[:200],
    } | more
    template = "accounts/_groups.html" if request.headers.get("HX-Request") and not more else "accounts/groups.html"
    return render(request, template, context, status=more["error"].http_status if "error" in more else 200)


@to_change
def make(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("name", "")
    try:
        made = acts.do_make_group(name, actor=actor_of(request))
    except ApplianceError as error:
        return _groups(request, error=error, name=name)
    return said(f"/groups/{made.pk}", "The group was made.")


@require_GET
@administrators_only
def group(request: HttpRequest, group_id: uuid.UUID) -> HttpResponse:
    return _group(request, _by_id(group_id))


def _group(request: HttpRequest, shown: Group, **more: Any) -> HttpResponse:
    memberships = Membership.objects.filter(group=shown).select_related("user").order_by("user__username")
    held = list(RoleGrant.objects.filter(group=shown).order_by("role"))
    mapped = Grant.objects.filter(group=shown, collection__isnull=False).select_related("collection", "wall")
    context = {
        "group": shown,
        "memberships": memberships[:_SHOWN],
        "size": memberships.count(),
        "shown": _SHOWN,
        "parents": shown.parents.order_by("name"),
        "nested": shown.nested.order_by("name"),
        "roles": held,
        "other_roles": [choice for choice in Role.choices if choice[0] not in {grant.role for grant in held}],
        "mapped": mapped.order_by("collection__name", "role"),
        "collections": Collection.objects.order_by("name"),
        "grant_roles": GrantRole.choices,
        "said": request.GET.get("said", "")[:200],
    } | more
    return render(request, "accounts/group.html", context, status=more["error"].http_status if "error" in more else 200)


@to_change
def give_role(request: HttpRequest, group_id: uuid.UUID) -> HttpResponse:
    shown = _by_id(group_id)
    try:
        waits = acts.do_give_role(
            request.POST.get("role", ""), group=shown, by=current_user(request), actor=actor_of(request)
        )
    except ApplianceError as error:
        return _group(request, shown, error=error)
    return said(f"/groups/{shown.pk}", _WAITS if waits else "The role was given.")


@to_change
def take_role(request: HttpRequest, group_id: uuid.UUID, grant_id: int) -> HttpResponse:
    shown = _by_id(group_id)
    if not RoleGrant.objects.filter(pk=grant_id, group=shown).exists():
        raise NotFound()
    try:
        acts.do_take_role(grant_id, by=current_user(request), actor=actor_of(request))
    except Conflict as error:
        return _group(request, shown, error=error)
    return said(f"/groups/{shown.pk}", "The role was taken away.")


@to_change
def map_collection(request: HttpRequest, group_id: uuid.UUID) -> HttpResponse:
    shown, by = _by_id(group_id), current_user(request)
    try:
        collection = _collection(request.POST.get("collection", ""))
        role = request.POST.get("role", "")
        same = Grant.objects.filter(group=shown, collection=collection, role=role, effect=Effect.ALLOW, ends_at=None)
        if same.exists():
            raise Conflict(f"{shown} is mapped to {collection} that way already.", code="mapped_already")
        if "preview" in request.POST:
            return _preview(request, shown, collection, role)
        made = do_add_grant(
            collection, Wanted(user=None, group=shown, role=role), acting_user=by, actor=actor_of(request)
        )
    except ApplianceError as error:
        return _group(request, shown, error=error)
    return said(f"/groups/{shown.pk}", "The collection was mapped." if isinstance(made, Grant) else _WAITS)


def _preview(request: HttpRequest, shown: Group, collection: Collection, role: str) -> HttpResponse:
    """Who would gain what from the mapping. An administrator is told collections, no document."""
    wanted, by = Wanted(user=None, group=shown, role=role), current_user(request)

    def change() -> None:
        do_grant(collection, group=shown, role=role, acting_user=by, actor=actor_of(request))

    found = preview(change, people=concerned(groups=[shown.pk]), collections=[collection.pk])
    context = {
        "preview": found,
        "what": wanted.in_words(collection),
        "action": f"/groups/{shown.pk}/collections",
        "back": f"/groups/{shown.pk}",
        "fields": [("collection", str(collection.pk)), ("role", role)],
    }
    return render(request, "documents/preview.html", context)


@to_change
def unmap_collection(request: HttpRequest, group_id: uuid.UUID, grant_id: uuid.UUID) -> HttpResponse:
    shown, by = _by_id(group_id), current_user(request)
    grant = Grant.objects.filter(pk=grant_id, group=shown).select_related("collection").first()
    if grant is None or grant.collection is None:
        raise NotFound()
    try:
        if "preview" in request.POST:
            context = {
                "preview": removal(removable_grant(grant.collection, grant.pk, actor=actor_of(request))),
                "what": f"{shown} is no longer mapped to {grant.collection}",
                "action": f"/groups/{shown.pk}/collections/{grant.pk}/remove",
                "back": f"/groups/{shown.pk}",
            }
            return render(request, "documents/preview.html", context)
        waits = do_remove_grant(grant.collection, grant.pk, acting_user=by, actor=actor_of(request))
    except Conflict as error:
        return _group(request, shown, error=error)
    return said(f"/groups/{shown.pk}", _WAITS if waits else "The mapping was removed.")


@to_change
def join(request: HttpRequest, group_id: uuid.UUID) -> HttpResponse:
    shown, name = _by_id(group_id), request.POST.get("username", "").replace("\x00", "").strip().lower()
    try:
        who = User.objects.filter(username=name, is_active=True).first()
        if who is None:
            raise BadRequest(f"There is no active account named {name!r}.", code="user_not_found")
        acts.do_ask_to_join(shown, who, by=current_user(request), actor=actor_of(request))
    except ApplianceError as error:
        return _group(request, shown, error=error)
    return said(f"/groups/{shown.pk}", _WAITS)


@to_change
def leave(request: HttpRequest, group_id: uuid.UUID, person_id: uuid.UUID) -> HttpResponse:
    shown = _by_id(group_id)
    try:
        acts.do_leave(shown, person_by(person_id), actor=actor_of(request))
    except Conflict as error:
        return _group(request, shown, error=error)
    return said(f"/groups/{shown.pk}", "They are no longer in the group.")


_WAITS = "A second person has to approve this."


def _by_id(group_id: uuid.UUID) -> Group:
    found = Group.objects.filter(pk=group_id).first()
    if found is None:
        raise NotFound()
    return found


def _collection(given: str) -> Collection:
    try:
        found: Collection | None = Collection.objects.filter(pk=uuid.UUID(given)).first()
    except ValueError:
        found = None
    if found is None:
        raise BadRequest("There is no such collection.", code="collection_not_found")
    return found
