"""Saved filters: kept from the page of events, and changed or deleted on a page of their own."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.sessions import actor_of, current_user
from appliance.audit import saved
from appliance.lib.errors import ApplianceError, NotFound
from appliance.ops.audit import asking
from appliance.ops.audit.names import names_of, officers_only
from appliance.ops.audit.seal import seal_of

_SAID = {"saved": "The filter is saved.", "changed": "The filter is changed.", "deleted": "The filter is deleted."}


@require_GET
@officers_only
def filters(request: HttpRequest) -> HttpResponse:
    return _filters(request)


def _filters(request: HttpRequest, **more: Any) -> HttpResponse:
    me = current_user(request).pk
    found = saved.of(me)
    names = names_of([("user", str(kept.owner)) for kept in found])
    rows = [(kept, asking.read(QueryDict(kept.query)), names.called("user", str(kept.owner))) for kept in found]
    context = {
        "own": [(kept, asked) for kept, asked, _ in rows if kept.owner == me],
        "others": [row for row in rows if row[0].owner != me],
        "seal": seal_of(),
        "said": _SAID.get(request.GET.get("said", ""), ""),
        "tab": "filters",
    }
    error: ApplianceError | None = more.get("error")
    return render(request, "audit/filters.html", context | more, status=error.http_status if error else 200)


@require_POST
@officers_only
def save(request: HttpRequest) -> HttpResponse:
    """Keeps the filter in `query`, which must mean something: what is saved can be opened."""
    asked = asking.read(QueryDict(request.POST.get("query", "")[:4_000]))
    try:
        if asked.problems:
            raise asked.problems[0]
        name, shared = request.POST.get("name", ""), request.POST.get("shared") == "yes"
        saved.do_save(current_user(request).pk, name, asked.query, shared=shared, actor=actor_of(request))
    except ApplianceError as error:
        return _filters(request, error=error)
    return HttpResponseRedirect("/audit/filters?said=saved")


@require_POST
@officers_only
def change(request: HttpRequest, filter_id: uuid.UUID) -> HttpResponse:
    name, shared = request.POST.get("name", ""), request.POST.get("shared") == "yes"
    try:
        saved.do_change(filter_id, current_user(request).pk, name=name, shared=shared, actor=actor_of(request))
    except NotFound:
        raise
    except ApplianceError as error:
        return _filters(request, error=error)
    return HttpResponseRedirect("/audit/filters?said=changed")


@require_POST
@officers_only
def delete(request: HttpRequest, filter_id: uuid.UUID) -> HttpResponse:
    saved.do_delete(filter_id, current_user(request).pk, actor=actor_of(request))
    return HttpResponseRedirect("/audit/filters?said=deleted")
