"""What every page of an officer knows of the audit: how many alerts wait."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from appliance.accounts.models import User
from appliance.audit import alerts


def audit(request: HttpRequest) -> dict[str, Any]:
    """The figure beside the link to the audit. No query where the link is not shown."""
    signed_in = getattr(request, "user", None)
    if not isinstance(signed_in, User) or not signed_in.is_active:
        return {}
    return {"num_alerts": SimpleLazyObject(alerts.num_open)}
