"""Ethical walls: named, with a reason, an owner, who is kept out, and of what.

What a wall says is compiled into deny grants, one for each member and target, in the transaction that changes it: the
access rule knows grants only. Building or widening a wall is its owner's alone. Lifting or narrowing it needs a
second person, who is not behind it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from appliance.accounts.approvals import approves, request_approval
from appliance.accounts.models import Approval, Role, User
from appliance.audit.models import EventType, Outcome
from appliance.audit.record import Actor, Entity, Event, record
from appliance.documents.models import Collection, Document, Effect, Grant, GrantRole, Wall, WallMember, WallTarget
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.text import clean_name

CHANGE, LIFT = "wall.change", "wall.lift"
_OVERSEERS = (Role.COMPLIANCE_OFFICER, Role.CONTENT_APPROVER)
_KINDS = ("user", "group", "collection", "document")


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a wall keeps out (users, groups) and of what (collections, documents), by id."""

    users: frozenset[uuid.UUID] = frozenset()
    groups: frozenset[uuid.UUID] = frozenset()
    collections: frozenset[uuid.UUID] = frozenset()
    documents: frozenset[uuid.UUID] = frozenset()

    def as_dict(self) -> dict[str, list[str]]:
        """Sorted ids, as an approval keeps them."""
        ids = (self.users, self.groups, self.collections, self.documents)
        return {kind: sorted(map(str, each)) for kind, each in zip(_KINDS, ids, strict=True)}

    @classmethod
    def of(cls, change: dict[str, Any]) -> Reach:
        return cls(*(frozenset(map(uuid.UUID, change[kind])) for kind in _KINDS))

    def covers(self, other: Reach) -> bool:
        """Whether everything that `other` shuts is shut by this one, too."""
        return (
            self.users >= other.users
            and self.groups >= other.groups
            and self.collections >= other.collections
            and self.documents >= other.documents
        )


def reach_of(wall: Wall) -> Reach:
    """What the wall says now."""
    members = list(wall.members.all())
    targets = list(wall.targets.all())
    return Reach(
        frozenset(member.user_id for member in members if member.user_id),
        frozenset(member.group_id for member in members if member.group_id),
        frozenset(target.collection_id for target in targets if target.collection_id),
        frozenset(target.document_id for target in targets if target.document_id),
    )


def may_build(user: User) -> bool:
    """Compliance officers and content approvers build walls anywhere, managers around what they manage."""
    return user.has_role(*_OVERSEERS) or Collection.objects.visible_to(user, role="manager").exists()


def collections_to_wall(user: User) -> QuerySet[Collection]:
    """The collections that `user` may put behind a wall."""
    if user.has_role(*_OVERSEERS):
        return Collection.objects.order_by("name")
    return Collection.objects.visible_to(user, role="manager").order_by("name")


def walls_for(user: User) -> QuerySet[Wall]:
    """The walls that `user` may know of: their own; all, for those who oversee them. Nobody behind one knows it."""
    walls = Wall.objects.select_related("owner", "lifted_by").order_by("lifted_at", "name")
    return walls if user.has_role(*_OVERSEERS) else walls.filter(owner=user)


def access_wall(user: User, wall_id: uuid.UUID) -> Wall:
    """One wall that `user` may know of. Raises NotFound."""
    wall = walls_for(user).filter(pk=wall_id).first()
    if wall is None:
        raise NotFound()
    return wall


def do_build_wall(name: str, reason: str, reach: Reach, *, acting_user: User, actor: Actor) -> Wall:
    """Builds a wall; from the next passage on its members see none of its targets. Raises Conflict for a taken name."""
    name, reason = clean_name(name, limit=150), reason.strip()[:5_000]
    if not name or not reason:
        raise BadRequest("A wall needs a name and a reason.", code="invalid_request")
    _check(reach, acting_user)
    try:
        with transaction.atomic():
            wall = Wall.objects.create(name=name, reason=reason, owner=acting_user, created_by=acting_user)
            rebuild(wall, reach)
            record(_event("wall.build", wall, reach), actor=actor)
    except IntegrityError:
        raise Conflict(f"There is a wall named {name!r} already.", code="wall_exists") from None
    return wall


def do_change_wall(wall: Wall, reach: Reach, *, acting_user: User, actor: Actor) -> Approval | None:
    """Changes whom the wall keeps out of what; returns the approval that it waits for, when that lets anyone in."""
    _own(wall, CHANGE, acting_user, actor)
    now = reach_of(wall)
    new = Reach.of(
        {kind: sorted(set(ids) - set(now.as_dict()[kind])) for kind, ids in reach.as_dict().items()}
    )  # what stays was checked when it came
    _check(reach, acting_user, new=new)
    if not reach.covers(now):
        change = reach.as_dict() | {"wall": str(wall.pk)}
        return request_approval(CHANGE, change, f"Wall {wall.name} is narrowed", by=acting_user, actor=actor)
    with transaction.atomic():
        rebuild(wall, reach)
        record(_event(CHANGE, wall, reach), actor=actor)
    return None


def do_lift_wall(wall: Wall, *, acting_user: User, actor: Actor) -> Approval:
    """Asks for the wall to be lifted: only its owner can ask, only someone else can approve."""
    _own(wall, LIFT, acting_user, actor)
    return request_approval(LIFT, {"wall": str(wall.pk)}, f"Wall {wall.name} is lifted", by=acting_user, actor=actor)


def _own(wall: Wall, act: str, user: User, actor: Actor) -> None:
    if wall.owner_id != user.pk:
        record(_event(act, wall, Reach(), Outcome.REFUSED), actor=actor)
        raise NotFound()
    if wall.lifted_at is not None:
        raise Conflict("This wall was lifted.", hint="Build a new one.", code="wall_lifted")


def _check(reach: Reach, user: User, *, new: Reach | None = None) -> None:
    """Raises BadRequest for a wall around nothing, NotFound for targets that `user` may not put behind one."""
    new = reach if new is None else new
    if not (reach.users or reach.groups) or not (reach.collections or reach.documents):
        raise BadRequest(
            "A wall keeps at least one person or group out of at least one collection or document.",
            code="invalid_request",
        )
    if collections_to_wall(user).filter(pk__in=new.collections).count() != len(new.collections):
        raise NotFound()
    managed = Collection.objects.visible_to(user, role="manager")
    documents = Document.objects.visible_to(user).filter(pk__in=new.documents, collection__in=managed)
    if documents.count() != len(new.documents):
        raise NotFound()


def rebuild(wall: Wall, reach: Reach) -> None:
    """Members, targets and the deny grants that they mean, replacing what was there. Decides and records nothing."""
    Wall.objects.select_for_update().get(pk=wall.pk)
    wall.members.all().delete()
    wall.targets.all().delete()
    members = [{"user_id": pk} for pk in reach.users] + [{"group_id": pk} for pk in reach.groups]
    targets = [{"collection_id": pk} for pk in reach.collections] + [{"document_id": pk} for pk in reach.documents]
    WallMember.objects.bulk_create([WallMember(wall=wall, **member) for member in members])
    WallTarget.objects.bulk_create([WallTarget(wall=wall, **target) for target in targets])
    _compile(wall, product(members, targets))


def _compile(wall: Wall, pairs: Iterable[tuple[dict[str, uuid.UUID], dict[str, uuid.UUID]]]) -> None:
    wall.grants.all().delete()
    Grant.objects.bulk_create(
        Grant(
            wall=wall,
            effect=Effect.DENY,
            role=GrantRole.READER,
            reason=wall.name,
            created_by=wall.owner,
            **member,
            **target,
        )
        for member, target in pairs
    )


def _event(action: str, wall: Wall, reach: Reach, outcome: Outcome = Outcome.SUCCESS) -> Event:
    about = [Entity(kind, pk) for kind, ids in reach.as_dict().items() for pk in ids]
    entities = (Entity("wall", str(wall.pk)), *about)
    return Event(EventType.GRANT, action, outcome, entities=entities, detail={"denies": wall.grants.count()})


def _behind(approval: Approval, user: User) -> bool:
    """Whether the wall keeps `user` out now: who is behind it cannot help it fall."""
    behind = WallMember.objects.filter(wall=approval.change["wall"])
    return behind.filter(Q(user=user) | Q(group_id__in=user.group_ids)).exists()


def _oversees(approval: Approval, user: User) -> bool:
    return user.has_role(Role.COMPLIANCE_OFFICER)


def _standing(approval: Approval) -> Wall:
    wall = Wall.objects.select_for_update().filter(pk=approval.change["wall"], lifted_at=None).first()
    if wall is None:
        raise Conflict("This wall was lifted already.", hint="Refuse the request.", code="wall_lifted")
    return wall


@approves(CHANGE, may_decide=_oversees, benefits=_behind)
def _change_approved(change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None:
    wall, reach = _standing(approval), Reach.of(change)
    rebuild(wall, reach)
    record(_event(CHANGE, wall, reach), actor=actor)


@approves(LIFT, may_decide=_oversees, benefits=_behind)
def _lift_approved(change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None:
    wall = _standing(approval)
    wall.lifted_at, wall.lifted_by = timezone.now(), by
    wall.save(update_fields=["lifted_at", "lifted_by"])
    record(_event(LIFT, wall, reach_of(wall)), actor=actor)
    wall.grants.all().delete()
