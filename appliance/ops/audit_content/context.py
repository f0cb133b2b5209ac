"""What every page knows of requests to read questions: how many wait for whoever looks."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from appliance.accounts.models import Role, User
from appliance.audit.reveals import num_waiting_for


def content(request: HttpRequest) -> dict[str, Any]:
    """The context of the link to the requests. Without a signed-in approver: nothing, no query."""
    signed_in = getattr(request, "user", None)
    user = signed_in if isinstance(signed_in, User) and signed_in.is_active else None
    if user is None:
        return {}

    def waiting() -> int:
        return num_waiting_for(user.pk) if user.has_role(Role.CONTENT_APPROVER) else 0

    return {
        "may_decide_reveals": SimpleLazyObject(lambda: user.has_role(Role.CONTENT_APPROVER)),
        "num_reveals": SimpleLazyObject(waiting),
    }
