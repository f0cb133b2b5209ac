"""Emergency access: a person opens a collection for a while on their own word, and answers for it afterwards.

    open     where the site and the collection allow it: reason, reference, a grant that ends by itself, compliance told
    meanwhile a banner on every page; every question, passage and page opened is marked with it in the audit
    end      by its time, by the person, or by compliance
    review   someone else from compliance says whether it was justified: only then is it closed

A deny beats it. Nobody learns from it which collections there are: a name that cannot be opened is not known.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from appliance.accounts.models import Membership, Role, User
from appliance.audit.models import AuditEntity, AuditEvent, EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record, text_digest
from appliance.documents.models import BreakGlass, Collection, Effect, Finding, Grant, GrantRole
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.guarded.prepared import run_prepared

#: What happens while someone has emergency access: these events carry it.
MARKED = frozenset({EventType.INTENT, EventType.DISCLOSURE, EventType.OUTCOME, EventType.ACCESS})


class NotOpened(NotFound):
    """The same for an unknown name, a collection that may not be opened so, and one behind a wall."""

    code = "break_glass_refused"
    default_message = "No collection of this name can be opened this way."
    default_hint = "Check that the name is exact. The attempt was recorded."


def may_break_glass(user: User) -> bool:
    """Whether emergency access exists for `user`: on sites that allow it, for staff."""
    return settings.BREAK_GLASS and user.has_role(Role.STAFF)


def do_set_break_glass(collection: Collection, allowed: bool, *, actor: Actor) -> None:
    """Allows or forbids emergency access to a collection. The caller has checked that its manager asks."""
    with transaction.atomic():
        Collection.objects.filter(pk=collection.pk).update(break_glass=allowed)
        collection.break_glass = allowed
        entities = (Entity("collection", str(collection.pk)),)
        event = Event(EventType.SETTING, "collection.break_glass", entities=entities, detail={"allowed": allowed})
        record(event, actor=actor)


def do_break_glass(
    name: str, *, reason: str, reference: str, minutes: int, acting_user: User, actor: Actor
) -> BreakGlass:
    """Opens the collection of exactly this name for `acting_user`. Raises NotOpened, BadRequest, or Conflict."""
    if not may_break_glass(acting_user):
        raise NotFound()
    reason, reference = reason.strip()[:5_000], reference.strip()[:100]
    if not reason or not reference:
        raise BadRequest("Emergency access needs a reason and a reference.", code="invalid_request")
    if not 1 <= minutes <= settings.BREAK_GLASS_MINUTES:
        raise BadRequest(
            f"Emergency access lasts between 1 and {settings.BREAK_GLASS_MINUTES} minutes.", code="invalid_request"
        )
    collection = Collection.objects.filter(name=name, break_glass=True).first()
    if collection is None or _denied(collection, acting_user):
        detail = {"name_digest": text_digest(name)}
        record(Event(EventType.GRANT, "break_glass.open", Outcome.REFUSED, detail=detail), actor=actor)
        raise NotOpened()
    ends_at = timezone.now() + timedelta(minutes=minutes)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=acting_user.pk)
        if in_force_for(acting_user).filter(collection=collection).exists():
            raise Conflict("You have emergency access to this collection already.", code="break_glass_open")
        broken = BreakGlass.objects.create(
            user=acting_user, collection=collection, reason=reason, reference=reference, ends_at=ends_at
        )
        Grant.objects.create(
            user=acting_user,
            collection=collection,
            role=GrantRole.READER,
            effect=Effect.ALLOW,
            ends_at=ends_at,
            reason=reason,
            created_by=acting_user,
            break_glass=broken,
        )
        record(_event("break_glass.open", broken, minutes=minutes), actor=actor)
    return broken


def _denied(collection: Collection, user: User) -> bool:
    groups = Membership.objects.filter(user=user).values("group_id")
    denies = Grant.objects.filter(
        Q(user=user) | Q(group_id__in=groups),
        Q(starts_at=None) | Q(starts_at__lte=Now()),
        Q(ends_at=None) | Q(ends_at__gt=Now()),
        collection=collection,
        effect=Effect.DENY,
    )
    return denies.exists()


def in_force_for(user: User) -> QuerySet[BreakGlass]:
    """The emergency access that `user` has now, the one that ends first at the head."""
    held = BreakGlass.objects.filter(user=user, ended_at=None, ends_at__gt=Now())
    return held.select_related("collection").order_by("ends_at")


def do_end(broken: BreakGlass, *, acting_user: User, actor: Actor) -> None:
    """Ends it before its time: the person, or compliance. Raises NotFound for others. Ending it twice does nothing."""
    if broken.user_id != acting_user.pk and not acting_user.has_role(Role.COMPLIANCE_OFFICER):
        raise NotFound()
    with transaction.atomic():
        broken = BreakGlass.objects.select_for_update().get(pk=broken.pk)
        if not is_open(broken):
            return
        broken.ended_at = timezone.now()
        broken.save(update_fields=["ended_at"])
        broken.grants.all().delete()
        record(_event("break_glass.end", broken), actor=actor)


def is_open(broken: BreakGlass) -> bool:
    """Whether the person has the access now."""
    return broken.ended_at is None and broken.ends_at > timezone.now()


def do_review(broken: BreakGlass, *, finding: str, note: str, acting_user: User, actor: Actor) -> None:
    """Closes it with a finding. By compliance, never by the person; Conflict while it is open or when it is closed."""
    if not acting_user.has_role(Role.COMPLIANCE_OFFICER):
        raise NotFound()
    if broken.user_id == acting_user.pk:
        record(_event("break_glass.review", broken, Outcome.REFUSED), actor=actor)
        raise Conflict("Someone else must review this.", hint="Ask another compliance officer.", code="own_request")
    note = note.strip()[:5_000]
    if finding not in Finding.values or not note:
        raise BadRequest("A review needs a finding and a note that says why.", code="invalid_request")
    with transaction.atomic():
        broken = BreakGlass.objects.select_for_update().get(pk=broken.pk)
        if broken.reviewed_at is not None:
            raise Conflict("This was reviewed already.", hint="Reload the page.", code="already_decided")
        if is_open(broken):
            raise Conflict("The access is still open.", hint="End it first.", code="break_glass_open")
        broken.reviewed_at, broken.reviewed_by = timezone.now(), acting_user
        broken.finding, broken.note = finding, note
        broken.save(update_fields=["reviewed_at", "reviewed_by", "finding", "note"])
        record(_event("break_glass.review", broken, finding=finding), actor=actor)


def to_review() -> QuerySet[BreakGlass]:
    """What compliance has not closed yet, newest first: open ones too."""
    waiting = BreakGlass.objects.filter(reviewed_at=None).select_related("user", "collection")
    return waiting.order_by("-started_at")


def reviewed() -> QuerySet[BreakGlass]:
    """What was closed, newest first."""
    closed = BreakGlass.objects.exclude(reviewed_at=None).select_related("user", "collection", "reviewed_by")
    return closed.order_by("-reviewed_at")


def marked_events(broken: BreakGlass) -> list[AuditEvent]:
    """What happened under it, oldest first: at most 500 events."""
    ids = AuditEntity.objects.filter(kind="break_glass", object_id=str(broken.pk)).values("event")
    events = AuditEvent.objects.filter(pk__in=ids).defer("canonical").prefetch_related("entities")
    return list(events.order_by("pk")[:500])


_HELD = """
SELECT break_glass_id FROM documents_grant
WHERE user_id = %(person)s AND break_glass_id IS NOT NULL AND ends_at > statement_timestamp() ORDER BY ends_at
"""


def mark_of(person: uuid.UUID, event_type: EventType) -> tuple[str, ...]:
    """The emergency access that a person acts under now, for the audit's record: ids, none for most."""
    if event_type not in MARKED:
        return ()
    return tuple(str(row[0]) for row in run_prepared(_HELD, {"person": person}))


def _event(action: str, broken: BreakGlass, outcome: Outcome = Outcome.SUCCESS, **detail: str | int) -> Event:
    entities = (
        Entity("break_glass", str(broken.pk)),
        Entity("collection", str(broken.collection_id)),
        Entity("user", str(broken.user_id)),
    )
    return Event(EventType.GRANT, action, outcome, entities=entities, detail=detail)
