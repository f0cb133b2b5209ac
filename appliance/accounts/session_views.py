"""Pages of sessions: one's own, and for administrators those of a person."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts import lockout, second_factor
from appliance.accounts.models import User
from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.session_actions import (
    access_person,
    browser_name,
    do_end_session,
    do_end_sessions,
    sessions_of,
)
from appliance.accounts.sessions import actor_of, current_user, page, public_id


def _listed(person: User, here: str) -> list[dict[str, Any]]:
    return [
        {"session": found, "browser": browser_name(found.user_agent), "here": str(found.id) == here}
        for found in sessions_of(person)
    ]


@require_GET
@page
def sessions(request: HttpRequest) -> HttpResponse:
    context = {"sessions": _listed(current_user(request), public_id(request))}
    return render(request, "accounts/sessions.html", context)


@require_POST
@page
def end_session(request: HttpRequest, session_id: uuid.UUID) -> HttpResponse:
    do_end_session(current_user(request), session_id, actor=actor_of(request))
    return HttpResponseRedirect("/sessions")


@require_POST
@page
def end_others(request: HttpRequest) -> HttpResponse:
    do_end_sessions(current_user(request), keep=public_id(request), actor=actor_of(request))
    return HttpResponseRedirect("/sessions")


@require_GET
@page
def sessions_of_person(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    person = access_person(current_user(request), person_id)
    context = {
        "person": person,
        "sessions": _listed(person, ""),
        "locked": lockout.is_locked(person.username),
        "factors": second_factor.factors_of(person),
    }
    return render(request, "accounts/sessions_of_person.html", context)


@require_POST
@page
@reauthenticated
def end_all_of_person(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    person = access_person(current_user(request), person_id)
    do_end_sessions(person, actor=actor_of(request))
    return HttpResponseRedirect(f"/sessions/of/{person.pk}")


@require_POST
@page
@reauthenticated
def lift_lockout(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    user = current_user(request)
    person = access_person(user, person_id)
    lockout.do_lift_lockout(person, acting_user=user, actor=actor_of(request))
    return HttpResponseRedirect(f"/sessions/of/{person.pk}")


@require_POST
@page
@reauthenticated
def reset_factors(request: HttpRequest, person_id: uuid.UUID) -> HttpResponse:
    person = access_person(current_user(request), person_id)
    second_factor.do_reset(request, person)
    return HttpResponseRedirect(f"/sessions/of/{person.pk}")
