"""What every page knows: the site's name and marking, who is signed in, which links they get."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from appliance.accounts.models import Role, User

THEMES = (("system", "System"), ("light", "Light"), ("dark", "Dark"))


def site(request: HttpRequest) -> dict[str, Any]:
    """The context of the shell. Without a signed-in person: names and marking only, no query."""
    signed_in = getattr(request, "user", None)
    user = signed_in if isinstance(signed_in, User) and signed_in.is_active else None
    theme = user.theme if user else "system"
    return {
        "site_name": settings.APPLIANCE_NAME,
        "site_organisation": settings.APPLIANCE_ORGANISATION,
        "sign_in_banner": settings.SIGN_IN_BANNER,
        "site_classification": settings.APPLIANCE_CLASSIFICATION,
        "site_classification_level": settings.APPLIANCE_CLASSIFICATION_LEVEL,
        "user": user,
        "theme": theme,
        "themes": THEMES,
        "may_administer": bool(user and user.has_role(Role.ADMINISTRATOR)),
        "may_audit": bool(user and user.has_role(Role.COMPLIANCE_OFFICER)),
        "may_status": bool(user and user.has_role(Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER)),
        "section": request.path.split("/")[1],
    }
