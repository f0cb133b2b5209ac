"""Adding and taking away rules by hand. What would benefit its maker waits for a second person.

`documents.actions.do_grant` writes the row; here it is decided whether it may be written now.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from appliance.accounts.approvals import approves, request_approval
from appliance.accounts.models import Approval, Group, Role, User
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents.access import access_collection, access_document, as_uuid
from appliance.documents.actions import do_grant
from appliance.documents.models import Collection, Document, Effect, Grant, GrantRole
from appliance.lib.errors import Conflict, NotFound

ADD, REMOVE = "grant.add", "grant.remove"
_MAY = {GrantRole.READER: "read", GrantRole.CONTRIBUTOR: "add documents to", GrantRole.MANAGER: "change access to"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A rule that someone wants: one of `user` and `group`, as checked by `do_grant`."""

    user: User | None
    group: Group | None
    role: str = GrantRole.READER
    effect: str = Effect.ALLOW
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    reason: str = ""

    def in_words(self, target: Collection | Document) -> str:
        """The rule as approvers read it."""
        who = f"group {self.group.name}" if self.group else str(self.user)
        kind = "collection" if isinstance(target, Collection) else "document"
        may = _MAY.get(GrantRole(self.role), self.role) if self.effect == Effect.ALLOW else "not see"
        until = f" until {self.ends_at:%-d %B %Y %H:%M}" if self.ends_at else ""
        return f"{who} may {may} {kind} {target}{until}"


def principal_named(*, user: str = "", group: str = "") -> tuple[User | None, Group | None]:
    """A person by account name, or a group by name. Raises NotFound (`principal_not_found`)."""
    person = User.objects.filter(username=user.strip().lower()).first() if user.strip() else None
    found = Group.objects.filter(name=group.strip()).first() if group.strip() else None
    if person is None and found is None:
        raise NotFound(
            "There is no such user or group.", hint="Check the name and try again.", code="principal_not_found"
        )
    return person, found


def managed_target(
    user: User, *, collection_id: uuid.UUID | str = "", document_id: uuid.UUID | str = ""
) -> Collection | Document:
    """The collection that `user` manages, or the document in one that they may also read. Raises NotFound."""
    if collection_id:
        return access_collection(user, collection_id, role="manager")
    document = access_document(user, document_id)
    access_collection(user, document.collection_id, role="manager")
    return document


def grants_on(target: Collection | Document) -> QuerySet[Grant]:
    """Every rule made on the target itself, whether in force or not, oldest first."""
    named = Q(collection=target) if isinstance(target, Collection) else Q(document=target)
    return Grant.objects.filter(named).select_related("user", "group", "created_by", "wall").order_by("created_at")


def benefits(user: User, *, person: uuid.UUID | None, group: uuid.UUID | None) -> bool:
    """Whether what a person or a group gets is gotten by `user`."""
    return user.pk == person or group in user.group_ids


def do_add_grant(target: Collection | Document, wanted: Wanted, *, acting_user: User, actor: Actor) -> Grant | Approval:
    """Adds a rule on what `acting_user` manages; or asks for approval of it, when it lets `acting_user` in.

    The caller has looked `target` up with `managed_target`. Raises what `do_grant` raises.
    """
    own = wanted.effect == Effect.ALLOW and benefits(
        acting_user,
        person=wanted.user.pk if wanted.user else None,
        group=wanted.group.pk if wanted.group else None,
    )
    if not own:
        return _add(target, wanted, acting_user=acting_user, actor=actor)
    with transaction.atomic():  # what cannot be granted is not asked for either
        _add(target, wanted, acting_user=acting_user, actor=actor)
        transaction.set_rollback(True)
    return request_approval(ADD, _as_json(target, wanted), wanted.in_words(target), by=acting_user, actor=actor)


def removable_grant(target: Collection | Document, grant_id: uuid.UUID | str, *, actor: Actor) -> Grant:
    """A rule on `target` that was made by itself. Raises NotFound, or Conflict (`compiled_grant`) for another."""
    grant = grants_on(target).filter(pk=as_uuid(grant_id)).first()
    if grant is None:
        raise NotFound()
    if grant.wall_id or grant.break_glass_id:
        record(_removal(grant, Outcome.REFUSED), actor=actor)
        what = "a wall" if grant.wall_id else "emergency access"
        raise Conflict(
            f"This rule belongs to {what}, so it cannot be removed by itself.",
            hint="Change the wall, or end the emergency access.",
            code="compiled_grant",
        )
    return grant


def do_remove_grant(
    target: Collection | Document, grant_id: uuid.UUID | str, *, acting_user: User, actor: Actor
) -> Approval | None:
    """Takes a rule away; returns the approval that it waits for, when it kept `acting_user` out.

    Raises NotFound, Conflict (`compiled_grant`) for a rule that a wall or broken glass made, and Conflict
    (`last_manager`) when nobody would be left who can change access.
    """
    grant = removable_grant(target, grant_id, actor=actor)
    if grant.effect == Effect.DENY and benefits(acting_user, person=grant.user_id, group=grant.group_id):
        summary = f"{grant.group or grant.user} is no longer kept out of {target}"
        change = _concerned(target, person=grant.user_id, group=grant.group_id) | {"grant": str(grant.pk)}
        return request_approval(REMOVE, change, summary, by=acting_user, actor=actor)
    _remove(grant, actor=actor)
    return None


def _add(target: Collection | Document, wanted: Wanted, *, acting_user: User, actor: Actor) -> Grant:
    return do_grant(
        target,
        user=wanted.user,
        group=wanted.group,
        role=wanted.role,
        effect=wanted.effect,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        reason=wanted.reason,
        acting_user=acting_user,
        actor=actor,
    )


def _remove(grant: Grant, *, actor: Actor) -> None:
    with transaction.atomic():
        if grant.collection_id and grant.role == GrantRole.MANAGER and grant.effect == Effect.ALLOW:
            Collection.objects.select_for_update().get(pk=grant.collection_id)
            others = Grant.objects.filter(
                collection=grant.collection_id, role=GrantRole.MANAGER, effect=Effect.ALLOW
            ).exclude(pk=grant.pk)
            if not others.exists():
                raise Conflict(
                    "Nobody else can change access to this collection.",
                    hint="Let someone else manage it first.",
                    code="last_manager",
                )
        record(_removal(grant), actor=actor)
        grant.delete()


def _removal(grant: Grant, outcome: Outcome = Outcome.SUCCESS) -> Event:
    detail = {"grant": str(grant.pk), "role": grant.role, "effect": grant.effect}
    return Event(EventType.GRANT, "grant.remove", outcome, entities=entities_of(grant), detail=detail)


def entities_of(grant: Grant) -> tuple[Entity, Entity]:
    """What a rule is about and whom it concerns, for the audit."""
    target = ("collection", grant.collection_id) if grant.collection_id else ("document", grant.document_id)
    principal = ("user", grant.user_id) if grant.user_id else ("group", grant.group_id)
    return Entity(target[0], str(target[1])), Entity(principal[0], str(principal[1]))


def _concerned(
    target: Collection | Document, *, person: uuid.UUID | None, group: uuid.UUID | None
) -> dict[str, str | None]:
    """Of a change: the collection whose managers may decide it, and whom it is for."""
    return {
        "within": str(target.pk if isinstance(target, Collection) else target.collection_id),
        "user": str(person) if person else None,
        "group": str(group) if group else None,
    }


def _as_json(target: Collection | Document, wanted: Wanted) -> dict[str, Any]:
    return _concerned(
        target,
        person=wanted.user.pk if wanted.user else None,
        group=wanted.group.pk if wanted.group else None,
    ) | {
        "collection": str(target.pk) if isinstance(target, Collection) else None,
        "document": None if isinstance(target, Collection) else str(target.pk),
        "role": str(wanted.role),
        "effect": str(wanted.effect),
        "starts_at": wanted.starts_at.isoformat() if wanted.starts_at else None,
        "ends_at": wanted.ends_at.isoformat() if wanted.ends_at else None,
        "reason": wanted.reason,
    }


def _gets_it(approval: Approval, user: User) -> bool:
    person, group = approval.change["user"], approval.change["group"]
    return benefits(user, person=uuid.UUID(person) if person else None, group=uuid.UUID(group) if group else None)


def _manages_it(approval: Approval, user: User) -> bool:
    return uuid.UUID(approval.change["within"]) in _managed(user)


def _managed(user: User) -> frozenset[uuid.UUID]:
    """The collections that `user` manages, read once per loaded object: every waiting change asks."""
    cached: frozenset[uuid.UUID] | None = user.__dict__.get("_managed_collections")
    if cached is None:
        cached = frozenset(Collection.objects.visible_to(user, role="manager").values_list("pk", flat=True))
        user.__dict__["_managed_collections"] = cached
    return cached


@approves(ADD, may_decide=_manages_it, benefits=_gets_it)
def _add_approved(change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None:
    """The rule that was asked for. Its maker is who asked; the approval's event names who approved it.

    By ids: an approver need not see the document, so nothing of it is read.
    """
    asked = approval.requested_by
    mapped = bool(change["group"]) and asked.has_role(Role.ADMINISTRATOR)  # who maps groups to collections
    managed = Collection.objects.visible_to(asked, role="manager").filter(pk=change["within"])
    if not mapped and not managed.exists():
        raise Conflict(
            "Who asked for this no longer manages the collection.", hint="Refuse the request.", code="no_longer_manager"
        )
    grant = Grant.objects.create(
        collection_id=change["collection"],
        document_id=change["document"],
        user_id=change["user"],
        group_id=change["group"],
        role=change["role"],
        effect=change["effect"],
        starts_at=change["starts_at"] and datetime.fromisoformat(change["starts_at"]),
        ends_at=change["ends_at"] and datetime.fromisoformat(change["ends_at"]),
        reason=change["reason"],
        created_by=approval.requested_by,
    )
    detail = {"role": grant.role, "effect": grant.effect, "grant": str(grant.pk), "approval": str(approval.pk)}
    record(Event(EventType.GRANT, "grant.add", entities=entities_of(grant), detail=detail), actor=actor)


@approves(REMOVE, may_decide=_manages_it, benefits=_gets_it)
def _remove_approved(change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None:
    grant = Grant.objects.filter(pk=change["grant"]).first()
    if grant is not None:
        _remove(grant, actor=actor)
