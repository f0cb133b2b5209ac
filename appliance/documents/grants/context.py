"""What every page knows of access: what is in force for whoever looks, and what waits for them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from appliance.accounts.approvals import to_decide
from appliance.accounts.models import Role, User
from appliance.documents.grants import break_glass, walls
from appliance.documents.models import BreakGlass


def access(request: HttpRequest) -> dict[str, Any]:
    """The context of the banner and of the link to the page Access. Without a signed-in person: nothing, no query."""
    signed_in = getattr(request, "user", None)
    user = signed_in if isinstance(signed_in, User) and signed_in.is_active else None
    if user is None:
        return {}

    def held() -> list[BreakGlass]:
        return list(break_glass.in_force_for(user))

    def waiting() -> int:
        officer = user.has_role(Role.COMPLIANCE_OFFICER)
        return len(to_decide(user)) + (break_glass.to_review().count() if officer else 0)

    return {
        "broken_glass": SimpleLazyObject(held),
        "may_access": SimpleLazyObject(lambda: walls.may_build(user)),
        "num_waiting": SimpleLazyObject(waiting),
        "may_break_glass": break_glass.may_break_glass(user),
    }
