"""The page of one's API tokens. It stands here because it names collections, which accounts do not know."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from appliance.accounts.actions import do_issue_token, do_revoke_token
from appliance.accounts.models import Scope
from appliance.accounts.reauthentication import reauthenticated
from appliance.accounts.sessions import actor_of, current_user, page
from appliance.api.tokens import tokens_of
from appliance.documents.access import access_collection, collections_for
from appliance.lib.errors import BadRequest

DAYS = (7, 30, 90, 366)


def _page(request: HttpRequest, **more: Any) -> HttpResponse:
    collections = list(collections_for(current_user(request)))
    names = {collection.pk: collection.name for collection in collections}
    listed = [
        {
            "token": token,
            "scopes": [Scope(scope).label for scope in token.scopes],
            "collections": None
            if token.collections is None
            else [names.get(pk, "one you no longer see") for pk in token.collections],
            "usable": token.usable(now=timezone.now()),
        }
        for token in tokens_of(request)[:200]
    ]
    context = {"tokens": listed, "collections": collections, "scopes": Scope.choices, "days": DAYS} | more
    error = more.get("error")
    return render(request, "accounts/tokens.html", context, status=422 if error else 200)


@require_GET
@page
def tokens(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
@page
@reauthenticated
def make(request: HttpRequest) -> HttpResponse:
    user = current_user(request)
    chosen = request.POST.getlist("collections")
    days = request.POST.get("days", "")
    try:
        token, secret = do_issue_token(
            user.username,
            name=request.POST.get("name", ""),
            days=int(days) if days.isascii() and days.isdigit() and len(days) < 5 else 0,
            scopes=request.POST.getlist("scopes"),
            collections=[access_collection(user, pk).pk for pk in chosen] or None,
            actor=actor_of(request),
        )
    except BadRequest as error:
        return _page(request, error=error, given=request.POST)
    return _page(request, made=token, secret=secret)


@require_POST
@page
def revoke(request: HttpRequest, token_id: uuid.UUID) -> HttpResponse:
    do_revoke_token(current_user(request), token_id, actor=actor_of(request))
    return HttpResponseRedirect("/tokens")
