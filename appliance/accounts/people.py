"""What administrators do with people, groups and roles. Each act and its audit event commit together.

Nobody gives themselves anything: a role for oneself, or for a group one is in, and every joining of a local group (it
may open content) wait for a second person.
"""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from appliance.accounts.actions import do_create_group, do_create_user
from appliance.accounts.approvals import approves, request_approval
from appliance.accounts.ending import end_access
from appliance.accounts.models import Approval, Group, Membership, Role, RoleGrant, Source, User
from appliance.audit.models import EventType
from appliance.audit.record import Actor, Entity, Event, record
from appliance.lib.errors import BadRequest, Conflict, NotFound
from appliance.lib.text import clean_name, storable

ROLE, JOIN = "role.grant", "group.join"


class FromTheDirectory(Conflict):
    """The directory's people and groups are changed there: the next sync would undo it here."""

    code = "from_the_directory"
    default_message = "This comes from the staff directory, so it is changed there."
    default_hint = "Change it in the directory. The next sync brings the change here."


def administrator(user: User) -> User:
    """`user` when they are an administrator; to others there is nothing here. Raises NotFound."""
    if not user.has_role(Role.ADMINISTRATOR):
        raise NotFound()
    return user


def people(search: str = "") -> QuerySet[User]:
    """Everyone whose names hold `search`, by account name."""
    found = User.objects.order_by("username")
    wanted = storable(search).strip()
    if wanted:
        found = found.filter(Q(username__icontains=wanted) | Q(display_name__icontains=wanted))
    return found


def do_make_person(username: str, display_name: str, *, actor: Actor) -> tuple[User, str]:
    """A local account with a password that is shown this once. Raises BadRequest, or Conflict for a taken name."""
    name = clean_name(username, limit=150).lower()
    if not name or " " in name:
        raise BadRequest("An account needs a name without spaces.")
    password = secrets.token_urlsafe(12)
    try:
        user = do_create_user(name, password, display_name=clean_name(display_name, limit=150), actor=actor)
    except IntegrityError:
        raise Conflict(f"There is an account named {name} already.", code="account_exists") from None
    return user, password


def do_disable(person: User, *, by: User, actor: Actor) -> None:
    """Switches a local account off: sessions, tokens and running answers end. Raises FromTheDirectory, or Conflict for
    oneself (nobody would be left to undo it)."""
    _local(person.source)
    if person.pk == by.pk:
        raise Conflict("You cannot switch off your own account.", hint="Ask another administrator.", code="own_account")
    with transaction.atomic():
        ended = end_access([person.pk])
        record(Event(EventType.ACCOUNT, "user.disable", entities=(_user(person),), detail=ended), actor=actor)


def do_enable(person: User, *, actor: Actor) -> None:
    """Switches a local account on again. What ended with it stays ended."""
    _local(person.source)
    with transaction.atomic():
        User.objects.filter(pk=person.pk).update(is_active=True)
        record(Event(EventType.ACCOUNT, "user.enable", entities=(_user(person),)), actor=actor)


def do_make_group(name: str, *, actor: Actor) -> Group:
    """A local group without members. Raises Conflict for a taken name."""
    cleaned = clean_name(name, limit=150)
    if not cleaned:
        raise BadRequest("A group needs a name.")
    try:
        return do_create_group(cleaned, actor=actor)
    except IntegrityError:
        raise Conflict(f"There is a group named {cleaned} already.", code="group_exists") from None


def do_give_role(
    role: str, *, person: User | None = None, group: Group | None = None, by: User, actor: Actor
) -> Approval | None:
    """Gives a role to one person or one group; returns the approval it waits for, if it does.

    It waits when the role would be the giver's own, and when it is the approver's while there is one: an account made
    for the purpose would otherwise approve what its maker wants.
    """
    if role not in Role.values:
        raise BadRequest("There is no such role.")
    if (person is None) == (group is None):
        raise BadRequest("A role is given to one person or one group.")
    change = {"role": role, "user": str(person.pk) if person else None, "group": str(group.pk) if group else None}
    if _benefits(by, change) or (role == Role.CONTENT_APPROVER and _holders(Role.CONTENT_APPROVER).exists()):
        whom = f"group {group.name}" if group else str(person)
        return request_approval(ROLE, change, f"{whom} becomes {Role(role).label.lower()}", by=by, actor=actor)
    _give_role(change, actor=actor)
    return None


def do_take_role(grant_id: int, *, by: User, actor: Actor) -> None:
    """Takes a role away. Raises NotFound, and Conflict when no administrator would be left."""
    with transaction.atomic():
        grant = RoleGrant.objects.select_for_update().filter(pk=grant_id).first()
        if grant is None:
            raise NotFound()
        entities = (Entity("user", str(grant.user_id)) if grant.user_id else Entity("group", str(grant.group_id)),)
        grant.delete()
        if grant.role == Role.ADMINISTRATOR and not _holders(Role.ADMINISTRATOR).exists():
            raise Conflict(
                "Nobody would be left who can administer.",
                hint="Make someone else administrator.",
                code="last_administrator",
            )
        record(Event(EventType.ACCOUNT, "role.take", entities=entities, detail={"role": grant.role}), actor=actor)


def do_ask_to_join(group: Group, person: User, *, by: User, actor: Actor) -> Approval:
    """Asks that a person join a local group: what it opens is not for an administrator to decide alone."""
    _local(group.source)
    if Membership.objects.filter(group=group, user=person).exists():
        raise Conflict(f"{person} is in {group} already.", code="member_already")
    change = {"group": str(group.pk), "user": str(person.pk)}
    return request_approval(JOIN, change, f"{person} joins group {group.name}", by=by, actor=actor)


def do_leave(group: Group, person: User, *, actor: Actor) -> None:
    """Takes a person out of a local group."""
    _local(group.source)
    with transaction.atomic():
        if not Membership.objects.filter(group=group, user=person).delete()[0]:
            raise NotFound()
        record(Event(EventType.ACCOUNT, "group.leave", entities=(_group(group), _user(person))), actor=actor)


def _holders(role: Role) -> QuerySet[User]:
    held = Q(role_grants__role=role) | Q(groups__role_grants__role=role)
    return User.objects.filter(held, is_active=True)


def _benefits(user: User, change: dict[str, Any]) -> bool:
    if change["user"]:
        return str(user.pk) == str(change["user"])
    return uuid.UUID(change["group"]) in user.group_ids


def _in_it(approval: Approval, user: User) -> bool:
    return _benefits(user, approval.change)


def _joins(approval: Approval, user: User) -> bool:
    return str(user.pk) == str(approval.change["user"])


@approves(ROLE, benefits=_in_it)
def _carry_role(change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None:
    _give_role(change, actor=actor)


@approves(JOIN, benefits=_joins)
def _carry_join(change: dict[str, Any], *, approval: Approval, by: User, actor: Actor) -> None:
    group = Group.objects.filter(pk=uuid.UUID(change["group"]), source=Source.LOCAL).first()
    person = User.objects.filter(pk=uuid.UUID(change["user"])).first()
    if group is None or person is None:
        raise NotFound("The person or the group is no longer there.")
    Membership.objects.get_or_create(group=group, user=person)
    record(Event(EventType.ACCOUNT, "group.join", entities=(_group(group), _user(person))), actor=actor)


def _give_role(change: dict[str, Any], *, actor: Actor) -> None:
    person, group = change["user"], change["group"]
    with transaction.atomic():
        _, made = RoleGrant.objects.get_or_create(role=change["role"], user_id=person, group_id=group)
        if not made:
            raise Conflict("They have that role already.", code="role_held")
        entities = (Entity("user", person) if person else Entity("group", group),)
        record(Event(EventType.ACCOUNT, "role.give", entities=entities, detail={"role": change["role"]}), actor=actor)


def _local(source: str) -> None:
    if source != Source.LOCAL:
        raise FromTheDirectory()


def _user(user: User) -> Entity:
    return Entity("user", str(user.pk))


def _group(group: Group) -> Entity:
    return Entity("group", str(group.pk))
