"""The first page of access, and what waits for a second person."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts import approvals
from appliance.accounts.models import Approval, Role
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.documents.access import collections_for
from appliance.documents.grants import break_glass, walls
from appliance.documents.grants.views import sensitive
from appliance.lib.errors import NotFound
from appliance.lib.redirects import see_other


@require_GET
@page
def overview(request: HttpRequest) -> HttpResponse:
    """What whoever looks can do about access. Without any of it there is no such page."""
    user = current_user(request)
    if not walls.may_build(user):
        raise NotFound()
    officer = user.has_role(Role.COMPLIANCE_OFFICER)
    context = {
        "collections": collections_for(user, "manager"),
        "walls": walls.walls_for(user).filter(lifted_at=None),
        "to_decide": approvals.to_decide(user),
        "officer": officer,
        "to_review": break_glass.to_review() if officer else [],
    }
    return render(request, "documents/access_overview.html", context)


@require_GET
@page
def waiting(request: HttpRequest) -> HttpResponse:
    """What whoever looks may decide, and what they asked for themselves."""
    user = current_user(request)
    context = {"to_decide": approvals.to_decide(user), "asked": approvals.requested_by(user)}
    return render(request, "documents/access_approvals.html", context)


@require_POST
@page
@sensitive
def decide(request: HttpRequest, approval_id: uuid.UUID) -> HttpResponse:
    """Approves, refuses, or takes one's own request back."""
    approval = Approval.objects.filter(pk=approval_id).first()
    if approval is None:
        raise NotFound()
    approvals.decide(
        approval,
        request.POST.get("decision", ""),
        by=current_user(request),
        actor=actor_of(request),
        reason=request.POST.get("reason", ""),
    )
    return see_other("/approvals")
