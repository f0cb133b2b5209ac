"""Pages for those who manage collections: who may see what, why, and what a change would do."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from appliance.accounts.models import Approval, User
from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.audit.models import EventType
from appliance.audit.record import Entity, Event, record
from appliance.documents.access import access_collection, documents_for
from appliance.documents.actions import do_grant
from appliance.documents.grants import actions, break_glass, explain, forms
from appliance.documents.grants import preview as previewing
from appliance.documents.models import Collection, Document, Effect, GrantRole
from appliance.lib.errors import ApplianceError, NotFound
from appliance.lib.redirects import see_other
from appliance.lib.request_id import current_request_id

Target = Collection | Document


def sensitive(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view whose forms need the password given lately; its pages do not. Inside `page`."""
    checked = reauthenticated(view)

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = (checked if request.method == "POST" else view)(request, *args, **kwargs)
        return response

    return wrapper


def address_of(target: Target) -> str:
    """The page of the rules on a target."""
    kind = "manage/collections" if isinstance(target, Collection) else "documents"
    return f"/{kind}/{target.pk}/access"


def _target(request: HttpRequest, collection_id: uuid.UUID | None, document_id: uuid.UUID | None) -> Target:
    return actions.managed_target(
        current_user(request), collection_id=collection_id or "", document_id=document_id or ""
    )


def _context(target: Target, **more: Any) -> dict[str, Any]:
    on_collection = isinstance(target, Collection)
    collection = target if isinstance(target, Collection) else target.collection
    return {
        "target": target,
        "collection": collection,
        "document": None if on_collection else target,
        "address": address_of(target),
        "grants": actions.grants_on(target),
        "above": [] if on_collection else actions.grants_on(collection),
        "roles": GrantRole.choices if on_collection else GrantRole.choices[:1],
        "effects": [(Effect.ALLOW, "Let in"), (Effect.DENY, "Keep out")],
        "site_breaks_glass": settings.BREAK_GLASS,
        "form": {},
        "request_id": current_request_id(),
    } | more


def _person(request: HttpRequest) -> User | None:
    """The person whom the address names. Raises NotFound (`principal_not_found`)."""
    name = request.GET.get("person", "").strip()
    return actions.principal_named(user=name)[0] if name else None


@require_http_methods(["GET", "POST"])
@page
@sensitive
def access(
    request: HttpRequest, collection_id: uuid.UUID | None = None, document_id: uuid.UUID | None = None
) -> HttpResponse:
    """The rules on a collection or document. POST adds one; GET with `person` says why they see it, or do not."""
    target = _target(request, collection_id, document_id)
    try:
        if request.method == "POST":
            made = actions.do_add_grant(
                target,
                forms.wanted_grant(request.POST),
                acting_user=current_user(request),
                actor=actor_of(request),
            )
            return see_other(f"{address_of(target)}{'?waits=1' if isinstance(made, Approval) else ''}")
        person = _person(request)
        explained = None
        if person is not None and isinstance(target, Document):
            explained = explain.do_explain(person, target, actor=actor_of(request))
    except ApplianceError as error:
        return _refused(request, target, error)
    context = _context(target, person=person, explained=explained, waits="waits" in request.GET)
    return render(request, "documents/access.html", context)


def _refused(request: HttpRequest, target: Target, error: ApplianceError) -> HttpResponse:
    """The page again with what is wrong and what was typed; what does not exist at all stays a 404."""
    if isinstance(error, NotFound) and error.public_code != "principal_not_found":
        raise error
    status = 422 if error.http_status in (400, 404) else error.http_status
    context = _context(target, error=error, form=request.POST)
    return render(request, "documents/access.html", context, status=status)


@require_POST
@page
def preview(
    request: HttpRequest, collection_id: uuid.UUID | None = None, document_id: uuid.UUID | None = None
) -> HttpResponse:
    """What the rule in the form would do. Nothing is saved."""
    user, target = current_user(request), _target(request, collection_id, document_id)
    try:
        wanted = forms.wanted_grant(request.POST)
        people = previewing.concerned(
            users=[wanted.user.pk] if wanted.user else [], groups=[wanted.group.pk] if wanted.group else []
        )
        collection = target if isinstance(target, Collection) else target.collection

        def change() -> None:
            do_grant(
                target,
                user=wanted.user,
                group=wanted.group,
                role=wanted.role,
                effect=wanted.effect,
                starts_at=wanted.starts_at,
                ends_at=wanted.ends_at,
                reason=wanted.reason,
                acting_user=user,
                actor=actor_of(request),
            )

        found = previewing.preview(change, people=people, collections=[collection.pk])
    except ApplianceError as error:
        return _refused(request, target, error)
    context = {
        "preview": found,
        "what": wanted.in_words(target),
        "action": address_of(target),
        "back": address_of(target),
        "fields": [(name, value) for name, value in request.POST.items() if name != "csrfmiddlewaretoken"],
        "later": wanted.starts_at,
    }
    return render(request, "documents/preview.html", context)


@require_POST
@page
@sensitive
def remove(
    request: HttpRequest,
    grant_id: uuid.UUID,
    collection_id: uuid.UUID | None = None,
    document_id: uuid.UUID | None = None,
) -> HttpResponse:
    """Takes one rule away; with `preview`, says what that would do."""
    target = _target(request, collection_id, document_id)
    try:
        if "preview" in request.POST:
            return _preview_removal(request, target, grant_id)
        waits = actions.do_remove_grant(target, grant_id, acting_user=current_user(request), actor=actor_of(request))
    except ApplianceError as error:
        return _refused(request, target, error)
    # Whoever took their own right away is not sent to a page that is no longer theirs.
    still = Collection.objects.visible_to(current_user(request), role="manager").filter(
        pk=target.pk if isinstance(target, Collection) else target.collection_id
    )
    return see_other(f"{address_of(target)}{'?waits=1' if waits else ''}" if still.exists() else "/library")


def _preview_removal(request: HttpRequest, target: Target, grant_id: uuid.UUID) -> HttpResponse:
    grant = actions.removable_grant(target, grant_id, actor=actor_of(request))
    context = {
        "preview": previewing.removal(grant),
        "what": f"the rule for {grant.group or grant.user} on {target} is removed",
        "action": f"{address_of(target)}/{grant.pk}/remove",
        "back": address_of(target),
    }
    return render(request, "documents/preview.html", context)


@require_POST
@page
@sensitive
def allow_break_glass(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    """Allows or forbids emergency access to the collection."""
    collection = access_collection(current_user(request), collection_id, role="manager")
    break_glass.do_set_break_glass(collection, request.POST.get("allowed") == "1", actor=actor_of(request))
    return see_other(address_of(collection))


@require_GET
@page
def view_as(request: HttpRequest, collection_id: uuid.UUID) -> HttpResponse:
    """The titles that a person sees in a collection, for its manager: of those the manager may read. Recorded."""
    user = current_user(request)
    collection = access_collection(user, collection_id, role="manager")
    context: dict[str, Any] = {"collection": collection, "request_id": current_request_id()}
    try:
        person = _person(request)
    except NotFound as error:
        return render(request, "documents/access_as.html", context | {"error": error}, status=422)
    if person is not None:
        entities = (Entity("collection", str(collection.pk)), Entity("user", str(person.pk)))
        record(Event(EventType.ACCESS, "access.view_as", entities=entities), actor=actor_of(request))
        both = documents_for(user).filter(collection=collection, pk__in=Document.objects.visible_to(person))
        context |= {"person": person, "documents": both[:500], "num_documents": both.count()}
    return render(request, "documents/access_as.html", context)
