"""The pages of emergency access: asking for it, the banner that stays, ending it, and compliance's review."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from appliance.accounts.models import Role, User
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.documents.access import titles_for_review
from appliance.documents.grants import break_glass
from appliance.documents.grants.views import sensitive
from appliance.documents.models import BreakGlass, Finding
from appliance.lib.errors import ApplianceError, NotFound
from appliance.lib.redirects import see_other
from appliance.lib.request_id import current_request_id


def _known_to(user: User, break_glass_id: uuid.UUID) -> BreakGlass:
    """One that the person has, or any for compliance. Raises NotFound."""
    found = BreakGlass.objects.select_related("user", "collection", "reviewed_by").filter(pk=break_glass_id).first()
    if found is None or (found.user_id != user.pk and not user.has_role(Role.COMPLIANCE_OFFICER)):
        raise NotFound()
    return found


def _officer(request: HttpRequest) -> User:
    user = current_user(request)
    if not user.has_role(Role.COMPLIANCE_OFFICER):
        raise NotFound()
    return user


@require_http_methods(["GET", "POST"])
@page
@sensitive
def ask(request: HttpRequest) -> HttpResponse:
    """Opens a collection whose name is typed exactly. There is no list to choose from."""
    user = current_user(request)
    if not break_glass.may_break_glass(user):
        raise NotFound()
    context = {"limit": settings.BREAK_GLASS_MINUTES, "form": {"minutes": min(30, settings.BREAK_GLASS_MINUTES)}}
    if request.method == "GET":
        return render(request, "documents/break_glass.html", context)
    minutes = request.POST.get("minutes", "")
    try:
        broken = break_glass.do_break_glass(
            request.POST.get("name", "").strip()[:150],
            reason=request.POST.get("reason", ""),
            reference=request.POST.get("reference", ""),
            minutes=int(minutes) if minutes.isascii() and minutes.isdigit() and len(minutes) < 6 else 0,
            acting_user=user,
            actor=actor_of(request),
        )
    except ApplianceError as error:
        if error.http_status >= 500:
            raise
        context |= {"error": error, "form": request.POST, "request_id": current_request_id()}
        status = 422 if error.http_status in (400, 404) else error.http_status
        return render(request, "documents/break_glass.html", context, status=status)
    return see_other(f"/library/{broken.collection_id}")


@require_GET
@page
def banner(request: HttpRequest) -> HttpResponse:
    """What the banner says now: pages fetch it, so that the time left is true."""
    return render(request, "documents/break_glass_banner.html")


@require_POST
@page
def end(request: HttpRequest, break_glass_id: uuid.UUID) -> HttpResponse:
    """Ends it before its time."""
    user = current_user(request)
    broken = _known_to(user, break_glass_id)
    break_glass.do_end(broken, acting_user=user, actor=actor_of(request))
    return see_other("/library" if broken.user_id == user.pk else f"/break-glass/review/{broken.pk}")


@require_GET
@page
def to_review(request: HttpRequest) -> HttpResponse:
    """For compliance: what waits for a review, and what had one."""
    _officer(request)
    context = {"waiting": break_glass.to_review(), "closed": break_glass.reviewed()[:100]}
    return render(request, "documents/break_glass_reviews.html", context)


@require_http_methods(["GET", "POST"])
@page
@sensitive
def review(request: HttpRequest, break_glass_id: uuid.UUID) -> HttpResponse:
    """One emergency access with what happened under it; POST closes it with a finding."""
    user = _officer(request)
    broken = _known_to(user, break_glass_id)
    error, status = None, 200
    if request.method == "POST":
        try:
            break_glass.do_review(
                broken,
                finding=request.POST.get("finding", ""),
                note=request.POST.get("note", ""),
                acting_user=user,
                actor=actor_of(request),
            )
            return see_other("/break-glass/review")
        except ApplianceError as refused:
            error, status = refused, 422 if refused.http_status == 400 else refused.http_status
    events = break_glass.marked_events(broken)
    documents = {
        uuid.UUID(entity.object_id) for event in events for entity in event.entities.all() if entity.kind == "document"
    }
    titles = titles_for_review(documents)
    context = {
        "broken": broken,
        "open": break_glass.is_open(broken),
        "events": [
            (
                event,
                sorted({titles.get(e.object_id, e.object_id) for e in event.entities.all() if e.kind == "document"}),
            )
            for event in events
        ],
        "findings": Finding.choices,
        "own": broken.user_id == user.pk,
        "error": error,
        "form": request.POST,
        "request_id": current_request_id(),
    }
    return render(request, "documents/break_glass_review.html", context, status=status)
