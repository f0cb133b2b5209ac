"""Reviews of a period: begun, noted, signed off."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.sessions import actor_of, current_user
from appliance.audit import review as reading
from appliance.audit import weekly
from appliance.audit.models import Review
from appliance.audit.record import Entity
from appliance.documents.models import BreakGlass
from appliance.lib.errors import ApplianceError, NotFound
from appliance.ops.audit.names import names_in, names_of, officers_only
from appliance.ops.audit.seal import seal_of

_SAID = {"kept": "The findings so far are kept.", "signed": "The review is signed off. It can no longer be changed."}


@require_GET
@officers_only
def reviews(request: HttpRequest) -> HttpResponse:
    found = weekly.all_reviews()
    names = names_of([("user", str(review.officer)) for review in found])
    context = {
        "rows": [(review, names.called("user", str(review.officer))) for review in found],
        "open_one": next((review for review in found if review.signed_at is None), None),
        "seal": seal_of(),
        "tab": "reviews",
    }
    return render(request, "audit/reviews.html", context)


@require_POST
@officers_only
def begin(request: HttpRequest) -> HttpResponse:
    """Begins a review, or goes on with the one that is under way: there is one at a time."""
    try:
        going = weekly.do_begin(officer=current_user(request).pk, actor=actor_of(request))
    except weekly.ReviewOpen as error:
        going = error.review
    return HttpResponseRedirect(f"/audit/reviews/{going.pk}")


@require_GET
@officers_only
def review(request: HttpRequest, review_id: uuid.UUID) -> HttpResponse:
    return _review(request, weekly.find(review_id))


def _review(request: HttpRequest, found: Review, **more: Any) -> HttpResponse:
    entities = (Entity("review", str(found.pk)),)
    reading.record_look({}, entities=entities, actor=actor_of(request), action="audit.review")
    changes = weekly.changes(found)
    names = names_in(changes, [entity for event in changes for entity in event.entities.all()])
    glass = BreakGlass.objects.filter(started_at__gte=found.period_start, started_at__lt=found.period_end)
    error: ApplianceError | None = more.get("error")
    context = {
        "review": found,
        "volumes": weekly.volumes(found),
        "officer": names_of([("user", str(found.officer))]).called("user", str(found.officer)),
        "glass": glass.select_related("user", "collection").order_by("-started_at")[:100],
        "changes": [
            (
                event,
                names.actor(event),
                list(dict.fromkeys(names.of(e) for e in event.entities.all() if e.kind in KINDS)),
            )
            for event in changes
        ],
        "findings": found.findings,
        "seal": seal_of(),
        "said": _SAID.get(request.GET.get("said", ""), ""),
        "tab": "reviews",
    }
    return render(request, "audit/review.html", context | more, status=error.http_status if error else 200)


#: What a change of rights is about, as far as it has a name.
KINDS = ("user", "group", "collection", "document")


@require_POST
@officers_only
def note(request: HttpRequest, review_id: uuid.UUID) -> HttpResponse:
    return _changed(request, review_id, weekly.do_note, "kept")


@require_POST
@officers_only
@reauthenticated
def sign(request: HttpRequest, review_id: uuid.UUID) -> HttpResponse:
    return _changed(request, review_id, weekly.do_sign, "signed")


def _changed(request: HttpRequest, review_id: uuid.UUID, act: Any, said: str) -> HttpResponse:
    findings = request.POST.get("findings", "")
    try:
        act(review_id, findings, officer=current_user(request).pk, actor=actor_of(request))
    except NotFound:
        raise
    except ApplianceError as error:
        return _review(request, weekly.find(review_id), error=error, findings=findings)
    return HttpResponseRedirect(f"/audit/reviews/{review_id}?said={said}")
