"""The seal as officers see it: until when events are sealed, until when that was verified, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import Error as DatabaseError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError as BrokerError

from appliance.accounts.sessions import actor_of, current_user
from appliance.audit import checking
from appliance.audit.models import Checkpoint, Delivery, EventType, SealKey, Verification
from appliance.audit.record import Event, record
from appliance.audit.standing import standing
from appliance.celery import app
from appliance.lib.errors import NotFound, QueueUnavailable
from appliance.lib.qr import qr_svg
from appliance.ops.audit.names import officers_only

_NUM_CHECKS = 20


@dataclass(frozen=True, slots=True)
class Seal:
    """`state` is one of sealed, behind, read_only, damaged, none. `verified_until` is when the newest event that was
    verified had been sealed; None before the first check."""

    state: str
    tone: str
    words: str
    size: int | None
    sealed_until: datetime | None
    behind_s: float
    verified_until: datetime | None
    problem: str


def seal_of() -> Seal:
    """As it is now. Raises a database error."""
    now, checked = standing(), checking.latest()
    verified_until = None
    if checked is not None and checked.sound:
        head = Checkpoint.objects.filter(size__lte=checked.size).order_by("-size").first()
        verified_until = head.signed_at if head else None
    state, tone, words = "sealed", "ok", "Sealed"
    if checked is not None and not checked.sound:
        state, tone, words = "damaged", "bad", "Damage found"
    elif now.is_read_only:
        state, tone, words = "read_only", "bad", "Not sealed: reading only"
    elif now.is_late:
        state, tone, words = "behind", "warn", "Sealing is behind"
    elif now.sealed_size is None:
        state, tone, words = "none", "neutral", "Nothing is sealed yet"
    problem = checked.problem if checked is not None else ""
    return Seal(state, tone, words, now.sealed_size, now.signed_at, now.behind_s, verified_until, problem)


@require_GET
@officers_only
def seal(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request"):
        return render(request, "audit/_seal.html", {"seal": seal_of()})
    head = Checkpoint.objects.order_by("-size").first()
    context = {
        "seal": seal_of(),
        "checks": Verification.objects.order_by("-at")[:_NUM_CHECKS],
        "head": head,
        "root": bytes(head.root).hex() if head else "",
        "said": request.GET.get("said") == "checking",
        "tab": "seal",
    }
    return render(request, "audit/seal.html", context)


def _newest() -> Checkpoint:
    head = Checkpoint.objects.order_by("-size").first()
    if head is None:
        raise NotFound("Nothing is sealed yet.")
    return head


def _took_away(request: HttpRequest, head: Checkpoint, channel: str) -> None:
    """A checkpoint that leaves by an officer's hand is on the record, and counts as delivered."""
    with transaction.atomic():
        detail = {"size": str(head.size), "channel": channel}
        record(Event(EventType.REVIEW, "audit.checkpoint", detail=detail), actor=actor_of(request))
        Delivery.objects.create(checkpoint=head, channel=channel, target=str(current_user(request).pk))


@require_GET
@officers_only
def checkpoint(request: HttpRequest) -> HttpResponse:
    """The newest checkpoint as a QR code and as text, to be photographed, printed or copied."""
    head = _newest()
    _took_away(request, head, "screen")
    keys = SealKey.objects.order_by("pk").values_list("public_key", flat=True)
    context = {"head": head, "picture": qr_svg(head.note, scale=5), "first_key": keys.first(), "tab": "seal"}
    return render(request, "audit/checkpoint.html", context | {"seal": seal_of()})


@require_GET
@officers_only
def checkpoint_file(request: HttpRequest) -> HttpResponse:
    """The newest checkpoint as a file for a USB stick: what `--checkpoint` of the verifier takes."""
    head = _newest()
    _took_away(request, head, "download")
    response = HttpResponse(head.note, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="checkpoint-{head.size}.txt"'
    return response


@require_POST
@officers_only
def check_now(request: HttpRequest) -> HttpResponse:
    """Has a worker verify everything. Recorded, and asked of the worker, or neither."""
    with transaction.atomic():
        record(Event(EventType.REVIEW, "audit.check"), actor=actor_of(request))
        try:
            app.send_task("ops.verify_audit", queue="jobs", retry=False)
        except (BrokerError, OSError):
            raise QueueUnavailable() from None
    return HttpResponseRedirect("/audit/seal?said=checking")


def tile() -> tuple[str, str, str]:
    """The seal on the status page: tone, words and a sentence."""
    try:
        now = seal_of()
    except DatabaseError:
        return "bad", "Not known", "The database is not answering."
    sealed = f"{now.size:,} events are sealed." if now.size else "No event is sealed yet."
    sentence = {
        "damaged": now.problem,
        "read_only": "Nothing can be asked or changed until the sealer runs and has caught up.",
        "behind": f"The oldest event without a seal has waited {now.behind_s:,.0f} seconds. Does the sealer run?",
    }.get(now.state, sealed)
    return now.tone, now.words, sentence
