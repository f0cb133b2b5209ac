"""Changes that wait for a second person: nobody gives themselves access unseen.

    request_approval    writes down what is wanted, in words and as data; nothing changes yet
    @approves(kind)     names who carries a change of that kind out, once it is approved
    decide              another person approves or refuses; whoever asked can only withdraw

A change may be decided by a content approver, or by whom its kind names (`may_decide`), never by whom it benefits
(`benefits`) and never by whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import transaction
from django.utils import timezone

from appliance.accounts.models import Approval, Decision, Role, User
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import BadRequest, Conflict, NotFound

#: Whether something holds of one waiting change and one person.
Concerns = Callable[[Approval, User], bool]

_ACTIONS = {
    Decision.APPROVED: "approval.approve",
    Decision.REFUSED: "approval.refuse",
    Decision.WITHDRAWN: "approval.withdraw",
}


class OwnRequest(BadRequest):
    """A second person is a second person."""

    code = "own_request"
    http_status = 403
    default_message = "You asked for this change, or it would benefit you, so someone else must decide."
    default_hint = "Ask another content approver. You can withdraw what you asked for yourself."


class CarryOut(Protocol):
    """Makes an approved change, in the transaction that approves it. What it raises leaves the request waiting."""

    def __call__(self, change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None: ...


@dataclass(frozen=True, slots=True)
class _Kind:
    carry_out: CarryOut
    may_decide: Concerns
    benefits: Concerns


_kinds: dict[str, _Kind] = {}


def _nobody(approval: Approval, user: User) -> bool:
    return False


def approves(
    kind: str, *, may_decide: Concerns = _nobody, benefits: Concerns = _nobody
) -> Callable[[CarryOut], CarryOut]:
    """Registers the function below it as what carries out approved changes of `kind`, called with the change as kept.

    `may_decide` names people who may decide beside the content approvers, `benefits` those who may not. Modules that
    register are imported when their app is ready.
    """

    def register(carry_out: CarryOut) -> CarryOut:
        _kinds[kind] = _Kind(carry_out, may_decide, benefits)
        return carry_out

    return register


def request_approval(kind: str, change: dict[str, Any], summary: str, *, by: User, actor: Actor) -> Approval:
    """Writes down a change for someone else to decide. `change` is plain JSON: ids, never rows or document text.

    Asking for the same change twice while it waits returns the first request.
    """
    if kind not in _kinds:
        raise LookupError(f"nobody carries out approvals of the kind {kind!r}")
    with transaction.atomic():
        User.objects.select_for_update().get(pk=by.pk)  # of two equal requests at once, one is the second
        waiting = Approval.objects.filter(kind=kind, change=change, requested_by=by, decision="").first()
        if waiting is not None:
            return waiting
        approval = Approval.objects.create(kind=kind, change=change, summary=summary[:500], requested_by=by)
        record(_event("approval.request", approval), actor=actor)
    return approval


def may_decide(approval: Approval, user: User) -> bool:
    """Whether `user` may approve or refuse this change: neither whoever asked for it, nor whoever it benefits."""
    kind = _kinds.get(approval.kind)
    if kind is None or approval.requested_by_id == user.pk:
        return False
    return _entitled(kind, approval, user) and not kind.benefits(approval, user)


def _entitled(kind: _Kind, approval: Approval, user: User) -> bool:
    return user.is_active and (user.has_role(Role.CONTENT_APPROVER) or kind.may_decide(approval, user))


def to_decide(user: User) -> list[Approval]:
    """What waits for `user` to decide, oldest first."""
    waiting = Approval.objects.filter(decision="").exclude(requested_by=user).select_related("requested_by")
    return [approval for approval in waiting.order_by("requested_at")[:500] if may_decide(approval, user)]


def requested_by(user: User) -> list[Approval]:
    """What `user` asked for, newest first: waiting and decided."""
    asked = Approval.objects.filter(requested_by=user).select_related("decided_by")
    return list(asked.order_by("-requested_at")[:50])


def decide(approval: Approval, decision: str, *, by: User, actor: Actor, reason: str = "") -> Approval:
    """Ends a request. Approving carries the change out in the same transaction.

    Raises NotFound for whoever may not know of it, OwnRequest for whoever asked or benefits, Conflict
    (`already_decided`) when someone was faster, and what carrying the change out raises: then it still waits.
    """
    if decision not in Decision.values:
        raise BadRequest("A request is approved, refused or withdrawn.")
    withdrawing = decision == Decision.WITHDRAWN
    if not (approval.requested_by_id == by.pk if withdrawing else may_decide(approval, by)):
        refused = _event(_ACTIONS[Decision(decision)], approval, Outcome.REFUSED)
        record(refused, actor=actor)
        raise OwnRequest() if _knows(approval, by) else NotFound()
    with transaction.atomic():
        approval = Approval.objects.select_for_update().select_related("requested_by").get(pk=approval.pk)
        if approval.decision:
            raise Conflict("This was decided already.", hint="Reload the page.", code="already_decided")
        approval.decision, approval.reason = decision, reason.strip()[:2_000]
        approval.decided_by, approval.decided_at = by, timezone.now()
        approval.save(update_fields=["decision", "reason", "decided_by", "decided_at"])
        record(_event(_ACTIONS[Decision(decision)], approval), actor=actor)
        if decision == Decision.APPROVED:
            _kinds[approval.kind].carry_out(approval.change, approval=approval, by=by, actor=actor)
    return approval


def _knows(approval: Approval, user: User) -> bool:
    """Whether `user`, who may not decide a request, knows of it: it is their own, or it would benefit them."""
    kind = _kinds.get(approval.kind)
    return approval.requested_by_id == user.pk or (kind is not None and _entitled(kind, approval, user))


def _event(action: str, approval: Approval, outcome: Outcome = Outcome.SUCCESS) -> Event:
    entities = (Entity("approval", str(approval.pk)), Entity("user", str(approval.requested_by_id)))
    return Event(EventType.GRANT, action, outcome, entities=entities, detail={"kind": approval.kind})
