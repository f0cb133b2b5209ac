"""Security keys and passkeys (WebAuthn) as a second factor, by py_webauthn.

The browser signs a challenge of ours for this site's name: a page elsewhere that looks like this one gets nothing. The
challenge is kept in the session and used once. The site needs a host name and TLS (or localhost): browsers insist.
"""

from __future__ import annotations

import time
from typing import Any

import webauthn
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import InvalidAuthenticationResponse, InvalidJSONStructure, InvalidRegistrationResponse
from webauthn.helpers.structs import PublicKeyCredentialDescriptor

from appliance.accounts import second_factor, throttle
from appliance.accounts.models import FactorKind, SecondFactor, User
from appliance.accounts.second_factor import PENDING_S, Proof
from appliance.accounts.sessions import client_address
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Event, record
from appliance.lib.errors import BadRequest, SignInRefused
from appliance.lib.text import storable

_CHALLENGE = "webauthn_challenge"
_WRONG = (InvalidAuthenticationResponse, InvalidRegistrationResponse, InvalidJSONStructure, ValueError, KeyError)


class KeyRefused(SignInRefused):
    """The same for an answer to another challenge, of another key, for another site."""

    code = "second_factor_refused"
    default_message = "That security key was not accepted."
    default_hint = "Try again, or use another of your second factors."


def keys_of(user: User) -> list[SecondFactor]:
    """The security keys of a person."""
    return [factor for factor in second_factor.factors_of(user) if factor.kind == FactorKind.WEBAUTHN]


def _known(user: User) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=bytes(key.credential_id or b"")) for key in keys_of(user)]


def _site(request: HttpRequest) -> str:
    return request.get_host().rpartition(":")[0] if ":" in request.get_host() else request.get_host()


def _keep(request: HttpRequest, challenge: bytes) -> None:
    request.session[_CHALLENGE] = {"value": bytes_to_base64url(challenge), "at": time.time()}


def _kept(request: HttpRequest) -> bytes:
    kept: Any = request.session.pop(_CHALLENGE, None)
    if not isinstance(kept, dict) or time.time() - float(kept["at"]) > PENDING_S:
        raise KeyRefused(hint="It took too long. Try again.")
    return base64url_to_bytes(kept["value"])


def registration_options(request: HttpRequest, user: User, site_name: str) -> str:
    """What the browser needs to make a credential, as JSON."""
    options = webauthn.generate_registration_options(
        rp_id=_site(request),
        rp_name=site_name,
        user_id=user.pk.bytes,
        user_name=user.username,
        user_display_name=str(user),
        exclude_credentials=_known(user),
    )
    _keep(request, options.challenge)
    return webauthn.options_to_json(options)


def do_add_key(request: HttpRequest, user: User, answer: str, name: str) -> list[str]:
    """Puts the key in effect that made this answer. Returns recovery codes, if there were none yet: shown this once."""
    challenge = _kept(request)
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=_site(request),
            expected_origin=f"{request.scheme}://{request.get_host()}",
        )
    except _WRONG:
        raise KeyRefused() from None
    key = SecondFactor(user=user, kind=FactorKind.WEBAUTHN, name=storable(name).strip()[:100] or "Security key")
    key.sealed = second_factor.seal(key, made.credential_public_key)
    key.credential_id, key.counter = made.credential_id, made.sign_count
    try:
        with transaction.atomic():
            return second_factor.put_in_effect(request, key)
    except IntegrityError:
        raise BadRequest("That security key is set up already.", code="second_factor_known") from None


def sign_in_options(request: HttpRequest, user: User) -> str:
    """What the browser needs to ask one of the person's keys, as JSON; empty for somebody without keys."""
    known = _known(user)
    if not known:
        return ""
    options = webauthn.generate_authentication_options(rp_id=_site(request), allow_credentials=known)
    _keep(request, options.challenge)
    return webauthn.options_to_json(options)


def check_key(request: HttpRequest, user: User, answer: str) -> Proof:
    """That one of the person's keys gave this answer. Raises KeyRefused, recorded, or RateLimited after too many."""
    throttle.take(throttle.SECOND_FACTOR, user.pk)
    try:
        return _check(request, user, answer)
    except KeyRefused as error:
        actor = Actor(user_id=user.pk, name=user.username, address=client_address(request))
        detail = {"code": error.public_code}
        record(Event(EventType.SIGN_IN, "session.second_factor", Outcome.REFUSED, detail=detail), actor=actor)
        raise


def _check(request: HttpRequest, user: User, answer: str) -> Proof:
    challenge = _kept(request)
    with transaction.atomic():
        try:
            given = webauthn.helpers.parse_authentication_credential_json(answer)
            key = SecondFactor.objects.select_for_update().get(
                user=user, kind=FactorKind.WEBAUTHN, credential_id=given.raw_id
            )
            done = webauthn.verify_authentication_response(
                credential=given,
                expected_challenge=challenge,
                expected_rp_id=_site(request),
                expected_origin=f"{request.scheme}://{request.get_host()}",
                credential_public_key=second_factor.unseal(key),
                credential_current_sign_count=key.counter,
            )
        except (*_WRONG, SecondFactor.DoesNotExist):
            raise KeyRefused() from None
        second_factor.note_use(key, done.new_sign_count)
    return Proof.WEBAUTHN
