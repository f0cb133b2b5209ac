"""Who is asking: the signed-in person, their session's limits, and the actor the audit names."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.deprecation import MiddlewareMixin

from appliance.accounts.models import User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import NotSignedIn
from appliance.lib.principal import become

STARTED_AT = "started_at"
SEEN_AT = "seen_at"
#: Requests a page makes by itself carry this header, so that an unattended page does not keep a session alive.
POLLING_HEADER = "X-Polling"
_SEEN_GRANULARITY_S = 30


def client_address(request: HttpRequest) -> str:
    """The peer's address; behind our own proxy, the one it reports."""
    if settings.BEHIND_TLS:
        forwarded = request.headers.get("X-Real-IP", "").strip()
        if forwarded:
            return forwarded
    return str(request.META.get("REMOTE_ADDR", ""))


def session_digest(request: HttpRequest) -> str:
    """A stand-in for the session key, which is itself a credential."""
    key = request.session.session_key if hasattr(request, "session") else None
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""


def current_user(request: HttpRequest) -> User:
    """The signed-in, active person. Raises NotSignedIn."""
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        raise NotSignedIn()
    return user


def actor_of(request: HttpRequest) -> Actor:
    """The audit's view of whoever makes this request."""
    user = getattr(request, "user", None)
    known = user if isinstance(user, User) else None
    return Actor(
        user_id=known.pk if known else None,
        name=known.username if known else "",
        session=session_digest(request),
        token=str(getattr(request, "api_token_prefix", "")),
        address=client_address(request),
    )


class SessionLimitsMiddleware(MiddlewareMixin):
    """Ends a session that was idle too long, is too old, or whose person was switched off."""

    def process_request(self, request: HttpRequest) -> None:
        if not isinstance(request.user, User):
            if SESSION_KEY in request.session:  # Django does not load a person who was switched off
                self._end(request, "account_disabled")
            return
        now = time.time()
        started = float(request.session.get(STARTED_AT, 0))
        seen = float(request.session.get(SEEN_AT, 0))
        expired = now - seen > settings.SESSION_IDLE_S or now - started > settings.SESSION_ABSOLUTE_S
        if expired:
            self._end(request, "session_expired")
        elif (
            now - seen > min(_SEEN_GRANULARITY_S, settings.SESSION_IDLE_S / 4) and POLLING_HEADER not in request.headers
        ):
            request.session[SEEN_AT] = now

    @staticmethod
    def _end(request: HttpRequest, why: str) -> None:
        entities = (Entity("user", str(request.session[SESSION_KEY])),)
        record(Event(EventType.SIGN_OUT, f"session.{why}", entities=entities), actor=actor_of(request))
        logout(request)


class PrincipalMiddleware(MiddlewareMixin):
    """Tells the database layer for whom the request runs: the signed-in person, else nobody."""

    def process_request(self, request: HttpRequest) -> None:
        become(request.user.pk if isinstance(request.user, User) and request.user.is_active else None)


def page(view: Callable[..., Any]) -> Callable[..., Any]:
    """A view for signed-in people: others are sent to sign in, and come back where they were."""

    def refusal(request: HttpRequest) -> HttpResponse:
        back = request.get_full_path() if request.method == "GET" else "/"
        if request.headers.get("HX-Request"):
            response = HttpResponse(status=401)
            here = urlsplit(request.headers.get("HX-Current-URL", "")).path or "/"
            response["HX-Redirect"] = f"{settings.LOGIN_URL}?{urlencode({'next': here})}"
            return response
        return HttpResponseRedirect(f"{settings.LOGIN_URL}?{urlencode({'next': back})}")

    if iscoroutinefunction(view):

        @functools.wraps(view)
        async def async_wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            user = await request.auser()
            if not isinstance(user, User):
                return refusal(request)
            request.user = user
            response: HttpResponseBase = await view(request, *args, **kwargs)
            return response

        return async_wrapper

    @functools.wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return refusal(request)
        response: HttpResponseBase = view(request, *args, **kwargs)
        return response

    return wrapper
