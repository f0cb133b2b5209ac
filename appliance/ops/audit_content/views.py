"""What was asked and answered, for an officer whom a content approver has allowed to read it; and the requests.

An officer starts from an event. The approver sees who asks and why, whose question it was and when: never its words.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.models import Role, User
from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.audit import reveals as acts
from appliance.audit.content import Kept
from appliance.audit.models import AuditEvent, Reveal
from appliance.lib.errors import ApplianceError, BadRequest, NotFound
from appliance.lib.redirects import see_other
from appliance.lib.request_id import current_request_id
from appliance.ops.audit.names import officers_only

_LISTED = 50
_SAID = {"approved": "The officer may read it now.", "refused": "The officer may not read it."}


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the list shows it: of whom, for whose question, asked when, and how it stands."""

    reveal: Reveal
    asks: str
    asker: str
    question: AuditEvent
    decided_by: str
    may_decide: bool
    standing: acts.Standing


@require_GET
@officers_only
def content(request: HttpRequest, correlation: uuid.UUID) -> HttpResponse:
    """How one question stands for this officer. Shows no word of it."""
    return _content(request, correlation)


@require_POST
@officers_only
@reauthenticated
def ask(request: HttpRequest, correlation: uuid.UUID) -> HttpResponse:
    """Asks to read it."""
    reason, reference = request.POST.get("reason", ""), request.POST.get("reference", "")
    try:
        acts.do_ask(
            correlation, reason=reason, reference=reference, by=current_user(request).pk, actor=actor_of(request)
        )
    except BadRequest as error:
        return _content(request, correlation, error=error, form={"reason": reason, "reference": reference})
    return see_other(f"/audit/content/{correlation}")


@require_POST
@officers_only
def read(request: HttpRequest, correlation: uuid.UUID) -> HttpResponse:
    """Shows it, while the officer may read it."""
    try:
        _, texts = acts.do_read(correlation, by=current_user(request).pk, actor=actor_of(request))
    except (acts.NotRevealed, acts.ContentDamaged) as error:
        return _content(request, correlation, error=error)
    return _content(request, correlation, texts=texts)


def _content(
    request: HttpRequest,
    correlation: uuid.UUID,
    *,
    texts: Iterable[Kept] | None = None,
    error: ApplianceError | None = None,
    form: dict[str, str] | None = None,
) -> HttpResponse:
    """The part of an event's drawer to htmx, else a page of its own."""
    partial = bool(request.headers.get("HX-Request"))
    in_drawer = partial and "/audit/content/" not in request.headers.get("HX-Current-URL", "")
    try:
        question: AuditEvent | None = acts.question_event(correlation)
    except NotFound:
        if not partial:
            raise
        question = None  # nothing is kept of it: a drawer says so
    standing = acts.standing_of(correlation, current_user(request).pk)
    ends = standing.reveal.expires_at if standing.is_open and standing.reveal else None
    context = {
        "correlation": correlation,
        "question": question,
        "asker": _asker(question) if question else "",
        "standing": standing,
        "texts": texts,
        "seconds_left": max(1, int((ends - timezone.now()).total_seconds()) + 1) if ends else 0,
        "minutes": settings.REVEAL_S // 60,
        "limits": (acts.MAX_REASON_CHARS, acts.MAX_REFERENCE_CHARS),
        "in_drawer": in_drawer,
        "heading": "h3" if in_drawer else "h2",
        "error": error,
        "form": form or {},
        "request_id": current_request_id(),
        "tab": "reveals",
    }
    template = "audit/content/_part.html" if partial else "audit/content/page.html"
    status = error.http_status if error else 200
    return render(request, template, context, status=422 if status == 400 else status)


@require_GET
@page
def reveals(request: HttpRequest) -> HttpResponse:
    """Requests: to decide for approvers, one's own for officers. To others there is no such page."""
    return _list(request)


@require_POST
@page
@reauthenticated
def decide(request: HttpRequest, reveal_id: uuid.UUID) -> HttpResponse:
    """Allows or refuses a request."""
    user = current_user(request)
    if not user.has_role(Role.CONTENT_APPROVER):
        raise NotFound()
    decision = request.POST.get("decision", "")
    if decision not in _SAID:
        raise BadRequest("A request is approved or refused.", code="invalid_request")
    try:
        acts.do_decide(reveal_id, approved=decision == "approved", by=user.pk, actor=actor_of(request))
    except NotFound:
        raise
    except ApplianceError as error:
        return _list(request, error=error)
    return see_other(f"/audit/reveals?said={decision}")


def _list(request: HttpRequest, *, error: ApplianceError | None = None) -> HttpResponse:
    user = current_user(request)
    approves, is_officer = user.has_role(Role.CONTENT_APPROVER), user.has_role(Role.COMPLIANCE_OFFICER)
    if not (approves or is_officer):
        raise NotFound()
    waiting = list(acts.waiting()[:_LISTED]) if approves else []
    decided = list(acts.decided()[:_LISTED]) if approves else []
    own = list(acts.asked_by(user.pk)[:_LISTED]) if is_officer else []
    context = {
        "approves": approves,
        "is_officer": is_officer,
        "waiting": _requests(waiting, user),
        "decided": _requests(decided, user),
        "own": _requests(own, user),
        "minutes": settings.REVEAL_S // 60,
        "said": _SAID.get(request.GET.get("said", ""), ""),
        "error": error,
        "request_id": current_request_id(),
        "tab": "reveals",
    }
    return render(request, "audit/content/reveals.html", context, status=error.http_status if error else 200)


def _requests(found: list[Reveal], user: User) -> list[Request]:
    questions = acts.question_events(reveal.correlation for reveal in found)
    ids = {reveal.requested_by for reveal in found} | {reveal.decided_by for reveal in found}
    ids |= {event.actor_id for event in questions.values()}
    people = User.objects.filter(pk__in=[pk for pk in ids if pk is not None])
    names: dict[uuid.UUID | None, str] = {person.pk: str(person) for person in people}
    return [
        Request(
            reveal,
            names.get(reveal.requested_by, "Someone who is gone"),
            names.get(questions[reveal.correlation].actor_id, questions[reveal.correlation].actor_name),
            questions[reveal.correlation],
            names.get(reveal.decided_by, ""),
            user.has_role(Role.CONTENT_APPROVER) and acts.may_decide(reveal, questions[reveal.correlation], user.pk),
            acts.Standing(reveal),
        )
        for reveal in found
    ]


def _asker(question: AuditEvent) -> str:
    person = User.objects.filter(pk=question.actor_id).first() if question.actor_id else None
    return str(person) if person else question.actor_name
