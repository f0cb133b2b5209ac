"""Who calls: a bearer token, or the session of a signed-in browser (then with a CSRF token on writes)."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from appliance.accounts import tokens
from appliance.accounts.models import User
from appliance.accounts.sessions import actor_of, client_address
from appliance.api.scopes import check_scope
from appliance.lib.errors import BadRequest, NotSignedIn
from appliance.lib.principal import become


def authenticate(request: HttpRequest) -> User:
    """The calling person.

    Raises NotSignedIn, ScopeMissing for a token not made for this, or BadRequest (`csrf_failed`) for a session write
    without its token.
    """
    header = request.headers.get("Authorization", "")
    if header:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise NotSignedIn("The Authorization header is not of the form: Bearer TOKEN.")
        token = tokens.find(secret.strip(), address=client_address(request))
        request.api_token_prefix = token.prefix  # type: ignore[attr-defined]
        request.user = token.user
        if token.collections is not None:
            token.user.only_collections = tuple(token.collections)
        check_scope(request, token, actor=actor_of(request))
        become(token.user.pk, token.collections)
        return token.user
    if not isinstance(request.user, User) or not request.user.is_active:
        raise NotSignedIn()
    if request.method not in ("GET", "HEAD", "OPTIONS") and check_csrf(request) is not None:
        raise BadRequest(
            "The form's security token is missing or old.", hint="Reload and try again.", code="csrf_failed"
        )
    return request.user


class TokenOrSession(AuthBase):
    """The scheme as django-ninja and the OpenAPI document know it."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Any:
        return authenticate(request)


class AsyncTokenOrSession(TokenOrSession):
    """The same for async operations."""

    async def __call__(self, request: HttpRequest) -> Any:
        await request.auser()
        return await sync_to_async(authenticate)(request)
