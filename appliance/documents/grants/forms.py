"""What the forms of access send, as values: names one on a line, times in the site's zone."""

from __future__ import annotations

import re
import uuid
from datetime import datetime

from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from appliance.accounts.models import Group, User
from appliance.documents.grants.actions import Wanted, principal_named
from appliance.documents.grants.walls import Reach
from appliance.lib.errors import BadRequest, NotFound

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def lines(form: QueryDict, name: str) -> list[str]:
    """The lines of a text field that hold something, at most 1,000."""
    return [line.strip() for line in form.get(name, "").splitlines() if line.strip()][:1_000]


def moment(form: QueryDict, name: str) -> datetime | None:
    """A date and time in the site's time zone; None for an empty field. Raises BadRequest."""
    given = form.get(name, "").strip()
    if not given:
        return None
    try:
        parsed = parse_datetime(given)
    except ValueError:
        parsed = None
    if parsed is None:
        raise BadRequest("That is not a date and time.", hint="Write it like 2026-05-03 14:00.", code="invalid_request")
    return timezone.make_aware(parsed) if timezone.is_naive(parsed) else parsed


def wanted_grant(form: QueryDict) -> Wanted:
    """The rule that a form describes. Raises NotFound (`principal_not_found`) or BadRequest."""
    kind, name = form.get("kind", "user"), form.get("name", "")
    user, group = principal_named(**{"group" if kind == "group" else "user": name})
    return Wanted(
        user=user,
        group=group,
        role=form.get("role", ""),
        effect=form.get("effect", ""),
        starts_at=moment(form, "starts_at"),
        ends_at=moment(form, "ends_at"),
        reason=form.get("reason", "").strip()[:2_000],
    )


def wanted_reach(form: QueryDict) -> Reach:
    """Whom a wall's form names, and what. Raises NotFound (`principal_not_found`) with the names that are not known."""
    people = {name.lower() for name in lines(form, "users")}
    groups = set(lines(form, "groups"))
    users = dict(User.objects.filter(username__in=people).values_list("username", "pk"))
    found = dict(Group.objects.filter(name__in=groups).values_list("name", "pk"))
    unknown = sorted((people - users.keys()) | (groups - found.keys()))
    if unknown:
        raise NotFound(
            f"There is nobody called {', '.join(unknown[:5])}.",
            hint="Check the names and try again.",
            code="principal_not_found",
        )
    return Reach(
        frozenset(users.values()),
        frozenset(found.values()),
        frozenset(_ids(form.getlist("collection"))),
        frozenset(_ids(lines(form, "documents"))),
    )


def _ids(given: list[str]) -> list[uuid.UUID]:
    """The id in each: a document may be named by its address. Raises NotFound for one without."""
    ids = []
    for each in given:
        match = _ID.search(each.lower())
        if match is None:
            raise NotFound()
        ids.append(uuid.UUID(match[0]))
    return ids
