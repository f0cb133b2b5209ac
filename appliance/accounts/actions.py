"""What can be done to accounts. Each act and its audit event commit together."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from appliance.accounts import second_factor, throttle, tokens
from appliance.accounts.models import ApiToken, Group, Role, RoleGrant, Scope, Source, User
from appliance.accounts.session_store import ADDRESS, SEEN_AT, STARTED_AT, USER_AGENT
from appliance.accounts.sessions import MUST_ENROL, PROVED_AT, actor_of, client_address
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record, text_digest
from appliance.lib.errors import BadRequest, DirectoryUnavailable, NotFound, SignInLocked, SignInRefused
from appliance.lib.text import storable

_MAX_TOKEN_DAYS = 366
_BACKEND = "django.contrib.auth.backends.ModelBackend"


def check_password(request: HttpRequest, username: str, password: str) -> User:
    """The person with that name and password.

    Raises SignInRefused, the same for every cause, or SignInLocked after too many tries for the name or from the
    address, or DirectoryUnavailable when nobody could say. All are recorded. No session begins here.
    """
    name = storable(username).strip().lower()[:150]
    try:
        user = authenticate(request, username=name, password=password) if name and password else None
    except DirectoryUnavailable as error:
        unknown = {"name_digest": text_digest(name), "code": error.code}
        nobody = Actor(address=actor_of(request).address)
        record(Event(EventType.SIGN_IN, "session.start", Outcome.REFUSED, detail=unknown), actor=nobody)
        raise
    if isinstance(user, User):
        return user
    locked = getattr(request, "axes_locked_out", False)
    # The name may be a password typed into the wrong field: only its digest is kept.
    detail = {"name_digest": text_digest(name)} | ({"locked": True} if locked else {})
    actor = Actor(address=actor_of(request).address)
    record(Event(EventType.SIGN_IN, "session.start", Outcome.REFUSED, detail=detail), actor=actor)
    if locked:
        raise SignInLocked(retry_after_s=settings.SIGN_IN_COOL_OFF_S)
    raise SignInRefused()


def do_sign_in(request: HttpRequest, username: str, password: str) -> User | None:
    """Signs a person in on a fresh session key; None when their second factor is still to come.

    Raises RateLimited for too many tries from one address, and what `check_password` raises.
    """
    throttle.take(throttle.SIGN_IN, actor_of(request).address)
    user = check_password(request, username, password)
    if second_factor.has_factor(user):
        second_factor.begin(request, user)
        return None
    start_session(request, user, second_factor.Proof.MISSING if second_factor.required(user) else None)
    return user


def start_session(request: HttpRequest, user: User, factor: second_factor.Proof | None) -> None:
    """Begins a session. Without a record there is none: the event and the session row commit together."""
    with transaction.atomic():
        login(request, user, backend=getattr(user, "backend", _BACKEND))  # rotates the session key
        request.session.pop(second_factor.PENDING, None)
        now = time.time()
        request.session.update({STARTED_AT: now, SEEN_AT: now, PROVED_AT: now})
        request.session.update({ADDRESS: client_address(request), USER_AGENT: request.headers.get("User-Agent", "")})
        if factor is second_factor.Proof.MISSING:
            request.session[MUST_ENROL] = True
        request.session.save()
        detail: dict[str, Any] = {"second_factor": str(factor)} if factor else {}
        if user.source == Source.LOCAL:
            detail["local"] = True
        record(Event(EventType.SIGN_IN, "session.start", detail=detail), actor=actor_of(request))


def do_sign_out(request: HttpRequest) -> None:
    """Ends the session. The event is written first, while it is still known whose session it is."""
    with transaction.atomic():
        if isinstance(request.user, User):
            record(Event(EventType.SIGN_OUT, "session.end"), actor=actor_of(request))
        logout(request)


def do_set_theme(user: User, theme: str) -> None:
    """Stores the appearance a person chose: system, light or dark. Not an audited act."""
    if theme not in {"system", "light", "dark"}:
        raise BadRequest("That appearance is not one of system, light or dark.")
    User.objects.filter(pk=user.pk).update(theme=theme)
    user.theme = theme


def do_create_user(
    username: str,
    password: str,
    *,
    display_name: str = "",
    title: str = "",
    roles: tuple[Role, ...] = (),
    actor: Actor,
) -> User:
    """Makes a local account with its roles."""
    with transaction.atomic():
        user = User.objects.create_user(username, password, display_name=display_name, title=title)
        RoleGrant.objects.bulk_create([RoleGrant(role=role, user=user) for role in roles])
        entities = (Entity("user", str(user.pk)),)
        detail = {"roles": sorted(str(role) for role in roles)}
        record(Event(EventType.ACCOUNT, "user.create", entities=entities, detail=detail), actor=actor)
    return user


def do_create_group(name: str, *, members: tuple[User, ...] = (), actor: Actor) -> Group:
    """Makes a local group with its members."""
    with transaction.atomic():
        group = Group.objects.create(name=name)
        group.members.set(members)
        entities = (Entity("group", str(group.pk)), *(Entity("user", str(user.pk)) for user in members))
        record(Event(EventType.ACCOUNT, "group.create", entities=entities), actor=actor)
    return group


def do_issue_token(
    username: str,
    *,
    name: str,
    days: int,
    scopes: Collection[str] = tuple(Scope),
    collections: Collection[uuid.UUID] | None = None,
    actor: Actor,
) -> tuple[ApiToken, str]:
    """A new bearer token for a person: the row, and the secret that is shown this once.

    `collections` narrows it to some that the caller has looked up for that person; None: all they may see.
    Raises NotFound for an unknown or inactive person, BadRequest for a lifetime outside 1..366 days, for no scope or
    one that there is not, or for an empty list of collections.
    """
    name = storable(name).strip()
    if not 1 <= len(name) <= 100:
        raise BadRequest("A token needs a name of at most 100 characters.")
    if not 1 <= days <= _MAX_TOKEN_DAYS:
        raise BadRequest(f"A token lives between 1 and {_MAX_TOKEN_DAYS} days.")
    if not scopes or not set(scopes) <= set(Scope):
        raise BadRequest(f"A token needs one or more scopes of: {', '.join(Scope)}.", code="scope_unknown")
    if collections is not None and not collections:
        raise BadRequest("A token made for some collections needs at least one.")
    user = User.objects.filter(username=username.strip().lower(), is_active=True).first()
    if user is None:
        raise NotFound(f"There is no active account named {username!r}.")
    secret = tokens.new_secret()
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name,
            prefix=tokens.prefix(secret),
            token_hash=tokens.digest(secret),
            expires_at=timezone.now() + timedelta(days=days),
            scopes=[str(scope) for scope in Scope if scope in scopes],
            collections=None if collections is None else sorted(set(collections)),
        )
        narrowed = (Entity("collection", str(pk)) for pk in token.collections or ())
        entities = (Entity("user", str(user.pk)), Entity("token", token.prefix), *narrowed)
        detail = {"days": days, "scopes": token.scopes}
        record(Event(EventType.TOKEN, "token.issue", entities=entities, detail=detail), actor=actor)
    return token, secret


def do_revoke_token(user: User, token_id: uuid.UUID, *, actor: Actor) -> None:
    """Ends a token of `user` now; running answers asked with it stop. Raises NotFound for one that is not theirs."""
    with transaction.atomic():
        token = ApiToken.objects.select_for_update().filter(pk=token_id, user=user).first()
        if token is None:
            raise NotFound()
        if token.revoked_at is not None:
            return
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        entities = (Entity("user", str(user.pk)), Entity("token", token.prefix))
        record(Event(EventType.TOKEN, "token.revoke", entities=entities), actor=actor)
