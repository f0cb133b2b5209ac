"""The second factor: what a person has beside their password. An authenticator app, security keys, recovery codes.

    password right -> pending (a session without a person, five minutes) -> code or key right -> signed in

A role can require one (APPLIANCE_SECOND_FACTOR_ROLES): who has none yet is signed in for setting one up only. Secrets
are sealed under the master key; a code that was used once, and any before it, is refused.
"""

from __future__ import annotations

import hashlib
import secrets
import time
import uuid
from datetime import datetime
from enum import StrEnum

import pyotp
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from appliance.accounts import throttle
from appliance.accounts.models import FactorKind, SecondFactor, User
from appliance.accounts.sessions import MUST_ENROL, actor_of, client_address
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib import crypto
from appliance.lib.errors import BadRequest, NotFound, SignInRefused

PENDING = "pending"
PENDING_S = 300
STEP_S = 30
RECOVERY_CODES = 10
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # without what looks alike


class Proof(StrEnum):
    """What stands in the record of a sign-in beside the password."""

    TOTP = "totp"
    WEBAUTHN = "webauthn"
    RECOVERY = "recovery"
    MISSING = "missing"  # required, and not set up yet


class CodeRefused(SignInRefused):
    """The same for a wrong code, an old one and one that was used."""

    code = "second_factor_refused"
    default_message = "That code was not accepted."
    default_hint = "Codes change every 30 seconds and work once. Try the next one, or a recovery code."


def factors_of(user: User) -> list[SecondFactor]:
    """What a person can show beside their password, in the order in which it was set up. No recovery codes."""
    found = SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exclude(kind=FactorKind.RECOVERY)
    return list(found.order_by("created_at"))


def has_factor(user: User) -> bool:
    """Whether signing in asks for more than the password."""
    return bool(factors_of(user))


def required(user: User) -> bool:
    """Whether one of the person's roles needs a second factor."""
    return not user.roles.isdisjoint(settings.SECOND_FACTOR_ROLES)


def codes_left(user: User) -> int:
    """How many recovery codes were not used yet."""
    return SecondFactor.objects.filter(user=user, kind=FactorKind.RECOVERY, used_at__isnull=True).count()


# Signing in -----------------------------------------------------------------------------------------------------


def begin(request: HttpRequest, user: User) -> None:
    """Keeps, on a fresh key, whose password was right. Nobody is signed in by that."""
    request.session.flush()
    backend = str(getattr(user, "backend", ""))
    request.session[PENDING] = {"user": str(user.pk), "at": time.time(), "backend": backend}
    request.session.save()


def pending(request: HttpRequest) -> User | None:
    """Whose second factor this browser is to show, if the password was right less than five minutes ago."""
    kept = request.session.get(PENDING)
    if not isinstance(kept, dict) or time.time() - float(kept["at"]) > PENDING_S:
        return None
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is not None and kept["backend"]:
        user.backend = kept["backend"]  # as Django's authenticate leaves it
    return user


def check_code(request: HttpRequest, user: User, code: str) -> Proof:
    """Which factor the code proves. Raises CodeRefused, recorded, or RateLimited after too many."""
    throttle.take(throttle.SECOND_FACTOR, user.pk)
    code = "".join(code.split()).replace("-", "").lower()[:40]
    with transaction.atomic():
        proof = (
            _totp_proof(user, code)
            if code.isascii() and code.isdigit() and len(code) == 6
            else _recovery_proof(user, code)
        )
    if proof is None:
        actor = Actor(user_id=user.pk, name=user.username, address=client_address(request))
        detail = {"code": CodeRefused.code}
        record(Event(EventType.SIGN_IN, "session.second_factor", Outcome.REFUSED, detail=detail), actor=actor)
        raise CodeRefused()
    return proof


def note_use(factor: SecondFactor, counter: int) -> None:
    """That a factor was used, and its counter then: what is not above it is a replay."""
    factor.counter, factor.used_at = counter, timezone.now()
    factor.save(update_fields=["counter", "used_at"])


def _totp_proof(user: User, code: str) -> Proof | None:
    apps = SecondFactor.objects.select_for_update().filter(user=user, kind=FactorKind.TOTP, confirmed_at__isnull=False)
    return Proof.TOTP if any(_use_step(app, code) for app in apps) else None


def _use_step(app: SecondFactor, code: str, *, at: datetime | None = None) -> bool:
    """Whether the code is that of the step now, or one before or after (clocks differ), later than any used."""
    now = int((at or timezone.now()).timestamp()) // STEP_S
    totp = pyotp.TOTP(unseal(app).decode())
    for step in (now - 1, now, now + 1):
        if step > app.counter and secrets.compare_digest(totp.generate_otp(step), code):
            note_use(app, step)
            return True
    return False


def _recovery_proof(user: User, code: str) -> Proof | None:
    given = hashlib.sha256(code.encode()).digest()
    unused = SecondFactor.objects.select_for_update().filter(user=user, kind=FactorKind.RECOVERY, used_at__isnull=True)
    for kept in unused:
        if secrets.compare_digest(unseal(kept), given):
            kept.used_at = timezone.now()
            kept.save(update_fields=["used_at"])
            return Proof.RECOVERY
    return None


# Setting up and removing ------------------------------------------------------------------------------------------


def begin_app(user: User) -> tuple[SecondFactor, str]:
    """A new authenticator app, without effect until a code of it was confirmed; and its otpauth:// address."""
    secret = pyotp.random_base32(32)
    with transaction.atomic():
        SecondFactor.objects.filter(user=user, kind=FactorKind.TOTP, confirmed_at__isnull=True).delete()
        app = SecondFactor(user=user, kind=FactorKind.TOTP, name="Authenticator app")
        app.sealed = seal(app, secret.encode())
        app.save()
    return app, address_of_app(app)


def address_of_app(app: SecondFactor) -> str:
    """What an authenticator app reads from the picture."""
    totp = pyotp.TOTP(unseal(app).decode())
    return totp.provisioning_uri(name=app.user.username, issuer_name=settings.APPLIANCE_NAME)


def unconfirmed_app(user: User) -> SecondFactor | None:
    """The app that is being set up."""
    return SecondFactor.objects.filter(user=user, kind=FactorKind.TOTP, confirmed_at__isnull=True).first()


def do_confirm_app(request: HttpRequest, user: User, code: str) -> list[str]:
    """Puts the app in effect that shows this code. Returns recovery codes, if there were none yet: shown this once."""
    throttle.take(throttle.SECOND_FACTOR, user.pk)
    with transaction.atomic():
        app = (
            SecondFactor.objects.select_for_update()
            .filter(user=user, kind=FactorKind.TOTP, confirmed_at__isnull=True)
            .first()
        )
        if app is None:
            raise NotFound()
        if not _use_step(app, "".join(code.split())):
            raise CodeRefused(hint="Look at the app again: a code works for 30 seconds.")
        return put_in_effect(request, app)


def put_in_effect(request: HttpRequest, factor: SecondFactor) -> list[str]:
    """In the caller's transaction: confirms a factor and records it; recovery codes when there were none yet."""
    factor.confirmed_at = timezone.now()
    factor.save()
    _record(request, "second_factor.add", factor)
    request.session.pop(MUST_ENROL, None)
    return [] if codes_left(factor.user) else do_new_codes(request, factor.user)


def do_new_codes(request: HttpRequest, user: User) -> list[str]:
    """New recovery codes in place of all earlier ones. They are shown this once, and kept as hashes."""
    if not has_factor(user):
        raise BadRequest("Recovery codes are for people with a second factor.", code="second_factor_missing")
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(12)) for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        SecondFactor.objects.filter(user=user, kind=FactorKind.RECOVERY).delete()
        rows = []
        for code in codes:
            row = SecondFactor(user=user, kind=FactorKind.RECOVERY, name="Recovery code", confirmed_at=timezone.now())
            row.sealed = seal(row, hashlib.sha256(code.encode()).digest())
            rows.append(row)
        SecondFactor.objects.bulk_create(rows)
        entities = (Entity("user", str(user.pk)),)
        record(Event(EventType.ACCOUNT, "second_factor.codes", entities=entities), actor=actor_of(request))
    return [f"{code[:4]}-{code[4:8]}-{code[8:]}" for code in codes]


def do_remove(request: HttpRequest, user: User, factor_id: uuid.UUID) -> None:
    """Removes a factor of `user`; with the last one the recovery codes go. Raises NotFound for one not theirs."""
    with transaction.atomic():
        factor = SecondFactor.objects.filter(pk=factor_id, user=user, confirmed_at__isnull=False).first()
        if factor is None or factor.kind == FactorKind.RECOVERY:
            raise NotFound()
        if required(user) and len(factors_of(user)) == 1:
            raise BadRequest(
                "Your role needs a second factor, and this is your only one.",
                hint="Set up another one first.",
                code="second_factor_required",
            )
        _record(request, "second_factor.remove", factor)
        factor.delete()
        if not has_factor(user):
            SecondFactor.objects.filter(user=user).delete()


def do_reset(request: HttpRequest, person: User) -> None:
    """Removes all factors of a person who lost them: for administrators."""
    with transaction.atomic():
        count, _ = SecondFactor.objects.filter(user=person).delete()
        entities = (Entity("user", str(person.pk)),)
        event = Event(EventType.ACCOUNT, "second_factor.reset", entities=entities, detail={"removed": count})
        record(event, actor=actor_of(request))


def _record(request: HttpRequest, action: str, factor: SecondFactor) -> None:
    entities = (Entity("user", str(factor.user_id)), Entity("second_factor", str(factor.pk)))
    record(Event(EventType.ACCOUNT, action, entities=entities, detail={"kind": factor.kind}), actor=actor_of(request))


def _context(factor: SecondFactor) -> bytes:
    return b"second factor " + factor.pk.bytes


def seal(factor: SecondFactor, secret: bytes) -> bytes:
    """A factor's secret as it is kept, bound to that factor."""
    return crypto.seal(settings.MASTER_KEY, secret, context=_context(factor))


def unseal(factor: SecondFactor) -> bytes:
    """The secret of a factor. Raises crypto.DecryptionError when it was changed or belongs to another."""
    return crypto.unseal(settings.MASTER_KEY, bytes(factor.sealed), context=_context(factor))
