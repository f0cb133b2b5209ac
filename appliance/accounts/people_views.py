"""Pages for administrators: people, their roles and groups. Nothing of what they read or ask is here."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts import people as acts
from appliance.accounts.directory import state
from appliance.accounts.models import Membership, Role, RoleGrant, User
from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.lib.errors import ApplianceError, Conflict, NotFound

_PAGE_LENGTH = 100
View = Callable[..., HttpResponse]


def administrators_only(view: View) -> View:
    """For administrators; to others there is no such page."""

    @page
    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        acts.administrator(current_user(request))
        return view(request, *args, **kwargs)

    return wrapper


def to_change(view: View) -> View:
    """An act of an administrator: a form, with the password given lately."""
    return require_POST(administrators_only(reauthenticated(view)))


def said(address: str, words: str) -> HttpResponse:
    """Back to a page, which says what was done."""
    return HttpResponseRedirect(f"{address}?{urlencode({'said': words})}")


def person_by(person_id: uuid.UUID) -> User:
    """Anybody's account. Raises NotFound."""
    found = User.objects.filter(pk=person_id).first()
    if found is None:
        raise NotFound()
    return found


@require_GET
@administrators_only
def people(request: HttpRequest) -> HttpResponse:
    return _people(request)


def _people(request: HttpRequest, **more: Any) -> HttpResponse:
    search = request.GET.get("q", "")[:150]
    matching = acts.people(search)
    start = request.GET.get("after", "")[:150]
    found = list(matching.filter(username__gt=start).prefetch_related("groups")[: _PAGE_LENGTH + 1])
    context = {
        "people": found[:_PAGE_LENGTH],
        "next_after": found[_PAGE_LENGTH - 1].username if len(found) > _PAGE_LENGTH else "",
        "total": matching.count(),
        "search": search,
        "said": request.GET.get("said", "")[:200],
        "directory": settings.DIRECTORY is not None,
        "state": state.current(),
    } | more
    template = "accounts/_people.html" if request.headers.get("HX-Request") and not more else "accounts/people.html"
    status = more["error"].http_status if "error" in more else 200
    return render(request, template, context, status=status)


@to_change
def make(request: HttpRequest) -> HttpResponse:
    username, display_name = request.POST.get("username", ""), request.POST.get("display_name", "")
    try:
        user, password = acts.do_make_person(username, display_name, actor=actor_of(request))
    except ApplianceError as error:
        return _people(request, error=error, username=username, display_name=display_name)
    return _person(request, user, password=password)


@require_GET
@administrators_only
def person(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    return _person(request, person_by(person_id))


def _person(request: HttpRequest, who: User, **more: Any) -> HttpResponse:
    memberships = Membership.objects.filter(user=who).select_related("group").order_by("group__name")
    through = RoleGrant.objects.filter(group__members=who).select_related("group").order_by("role", "group__name")
    own = RoleGrant.objects.filter(user=who).order_by("role")
    held = {grant.role for grant in own}
    context = {
        "person": who,
        "memberships": memberships,
        "own_roles": own,
        "group_roles": through,
        "other_roles": [choice for choice in Role.choices if choice[0] not in held],
        "said": request.GET.get("said", "")[:200],
    } | more
    return render(
        request, "accounts/person.html", context, status=more["error"].http_status if "error" in more else 200
    )


@to_change
def set_active(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    who, actor = person_by(person_id), actor_of(request)
    try:
        if request.POST.get("active") == "yes":
            acts.do_enable(who, actor=actor)
            return said(f"/people/{who.pk}", "The account is on.")
        acts.do_disable(who, by=current_user(request), actor=actor)
    except Conflict as error:
        return _person(request, who, error=error)
    return said(f"/people/{who.pk}", "The account is off. Sessions, tokens and running answers have ended.")


@to_change
def give_role(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    who, role = person_by(person_id), request.POST.get("role", "")
    try:
        waits = acts.do_give_role(role, person=who, by=current_user(request), actor=actor_of(request))
    except ApplianceError as error:
        return _person(request, who, error=error)
    return said(f"/people/{who.pk}", "A second person has to approve this." if waits else "The role was given.")


@to_change
def take_role(request: HttpRequest, person_id: uuid.UUID, grant_id: int) -> HttpResponse:
    who = person_by(person_id)
    if not RoleGrant.objects.filter(pk=grant_id, user=who).exists():
        raise NotFound()
    try:
        acts.do_take_role(grant_id, by=current_user(request), actor=actor_of(request))
    except Conflict as error:
        return _person(request, who, error=error)
    return said(f"/people/{who.pk}", "The role was taken away.")
