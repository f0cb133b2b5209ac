"""Who is asking: the signed-in person, their session's limits, and the actor the audit names."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import url_has_allowed_host_and_scheme

from appliance.accounts.models import Session, User
from appliance.accounts.session_store import PUBLIC_ID, SEEN_AT, STARTED_AT
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import NotSignedIn, SecondFactorRequired
from appliance.lib.failures import respond
from appliance.lib.principal import become

#: When this session's person last gave their password.
PROVED_AT = "proved_at"
#: Requests a page makes by itself carry this header, so that an unattended page does not keep a session alive.
POLLING_HEADER = "X-Polling"
_SEEN_GRANULARITY_S = 30
#: Set in a session whose person must have a second factor and has none yet.
MUST_ENROL = "must_enrol"
_WITHOUT_SECOND_FACTOR = ("/second-factor", "/sign-out", "/theme", "/static/")


def client_address(request: HttpRequest) -> str:
    """The peer's address; behind our own proxy, the one it reports."""
    if settings.BEHIND_TLS:
        forwarded = request.headers.get("X-Real-IP", "").strip()
        if forwarded:
            return forwarded
    return str(request.META.get("REMOTE_ADDR", ""))


def public_id(request: HttpRequest) -> str:
    """What the session is called outside the browser, which holds its key. Empty without one."""
    return str(request.session.get(PUBLIC_ID, "")) if hasattr(request, "session") else ""


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
    token = str(getattr(request, "api_token_prefix", ""))
    return Actor(
        user_id=known.pk if known else None,
        name=known.username if known else "",
        session="" if token else public_id(request),  # a cookie that came along with a token is not who asks
        token=token,
        address=client_address(request),
    )


class SessionLimitsMiddleware(MiddlewareMixin):
    """Ends a session that was idle too long, is too old, or whose person was switched off."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if not isinstance(request.user, User):
            if SESSION_KEY in request.session:  # Django does not load a person who was switched off
                self._end(request, "account_disabled")
            else:
                self._look_for_replay(request)
            return None
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
        if request.session.get(MUST_ENROL) and not request.path.startswith(_WITHOUT_SECOND_FACTOR) and not expired:
            return self._send_to_enrol(request)
        return None

    @staticmethod
    def _send_to_enrol(request: HttpRequest) -> HttpResponse | None:
        """Who must have a second factor and has none sees the page for it, and nothing else."""
        if request.path.startswith(("/api/", "/v1/")):
            if request.headers.get("Authorization"):
                return None  # a token stands for itself
            return respond(request, SecondFactorRequired())
        if request.headers.get("HX-Request"):
            response = HttpResponse(status=403)
            response["HX-Redirect"] = "/second-factor"
            return response
        return HttpResponseRedirect("/second-factor")

    @staticmethod
    def _look_for_replay(request: HttpRequest) -> None:
        """A cookie of a session that ended is worth as much as none. That it was sent is recorded."""
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        ended = Session.objects.filter(session_key=key, user__isnull=False).first() if 0 < len(key) <= 40 else None
        if ended is None:
            return
        entities = (Entity("user", str(ended.user_id)), Entity("session", str(ended.id)))
        refused = Event(EventType.REFUSAL, "session.replay", Outcome.REFUSED, entities=entities)
        record(refused, actor=Actor(session=str(ended.id), address=client_address(request)))

    @staticmethod
    def _end(request: HttpRequest, why: str) -> None:
        entities = (Entity("user", str(request.session[SESSION_KEY])),)
        record(Event(EventType.SIGN_OUT, f"session.{why}", entities=entities), actor=actor_of(request))
        logout(request)


class PrincipalMiddleware(MiddlewareMixin):
    """Tells the database layer for whom the request runs: the signed-in person, else nobody."""

    def process_request(self, request: HttpRequest) -> None:
        become(request.user.pk if isinstance(request.user, User) and request.user.is_active else None)


def local_path(address: str) -> str:
    """`address` when it stays on this appliance, else the first page."""
    local = address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None)
    return address if local else "/"


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
