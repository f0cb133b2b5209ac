"""Asking for the password again before a sensitive act: a session left open is not its person.

    @page
    @reauthenticated
    def do_something(request): ...

When the password was given less than APPLIANCE_REAUTH_S ago the view runs. Otherwise a form of POST comes back inside a
page that asks for the password and sends the same form again; nothing that was entered is lost. REST answers 403
`reauthentication_needed`, and never takes a token for its person.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from appliance.accounts.actions import check_password
from appliance.accounts.models import User
from appliance.accounts.sessions import PROVED_AT, actor_of, current_user
from appliance.audit.models import EventType
from appliance.audit.record import Event, record
from appliance.lib.errors import ApplianceError, ReauthenticationNeeded, SignInRefused
from appliance.lib.request_id import current_request_id

FIELD = "current_password"


def is_fresh(request: HttpRequest) -> bool:
    """Whether the person gave their password to this session lately. False for a token."""
    if getattr(request, "api_token_prefix", ""):
        return False
    return time.time() - float(request.session.get(PROVED_AT, 0)) <= settings.REAUTH_S


def require_fresh(request: HttpRequest) -> None:
    """Raises ReauthenticationNeeded, for operations that answer programs."""
    if not is_fresh(request):
        raise ReauthenticationNeeded()


def do_reauthenticate(request: HttpRequest, password: str) -> None:
    """Takes the password again. Raises what `check_password` raises: wrong ones count as tries to sign in."""
    user = current_user(request)
    if check_password(request, user.username, password).pk != user.pk:
        raise SignInRefused()
    request.session[PROVED_AT] = time.time()
    record(Event(EventType.SIGN_IN, "session.reauthenticate"), actor=actor_of(request))


def reauthenticated(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view that runs only when the password was given lately. Inside `page`."""

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        error: ApplianceError | None = None
        password = request.POST.get(FIELD, "")
        if FIELD in request.POST:
            form = request.POST.copy()
            del form[FIELD]
            request.POST = form  # type: ignore[assignment]
            try:
                do_reauthenticate(request, password)
            except SignInRefused as refused:
                error = refused
        if error is None and is_fresh(request):
            return view(request, *args, **kwargs)
        return _ask(request, error)

    return wrapper


def _ask(request: HttpRequest, error: ApplianceError | None) -> HttpResponse:
    kept = [(name, value) for name, values in request.POST.lists() if name != "csrfmiddlewaretoken" for value in values]
    user = request.user if isinstance(request.user, User) else None
    context = {
        "fields": kept,
        "action": request.get_full_path(),
        "error": error,
        "request_id": current_request_id(),
        "username": user.username if user else "",
    }
    status = error.http_status if error and error.http_status != 401 else 403
    response = render(request, "accounts/reauthenticate.html", context, status=status)
    if request.headers.get("HX-Request"):
        response["HX-Retarget"], response["HX-Reswap"] = "body", "innerHTML"
    return response
