"""The status page: which parts of the appliance answer."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from appliance.accounts.models import Role
from appliance.accounts.sessions import current_user, page
from appliance.lib.errors import NotFound
from appliance.ops import health
from appliance.ops.audit import seal

#: What each part is called, what its failing means for people, and which icon stands for it.
_WORDS = {
    "database": ("Database", "Nothing can be asked or opened until it answers."),
    "queue": ("Work queue", "Uploads are kept and wait. Questions are answered as before."),
    "workers": ("Background workers", "Uploads wait until a worker runs. Questions are answered as before."),
    "scanner": ("Virus scanner", "Uploads are kept and wait until it answers. Questions are answered as before."),
    "directory": ("Staff directory", "Its people cannot sign in; their sessions last a while. Local accounts can."),
    "model": ("Model server", "Questions cannot be answered until it runs. Documents can be opened."),
    "reranker": ("Reranker", "Searches go on without it, in the order that meaning and words give."),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part as a tile. `off`: the site has none."""

    name: str
    up: bool
    off: bool
    detail: str
    consequence: str


@require_GET
@page
def status(request: HttpRequest) -> HttpResponse:
    if not current_user(request).has_role(Role.ADMINISTRATOR, Role.COMPLIANCE_OFFICER):
        raise NotFound()
    parts = []
    for key, state in health.check().items():
        name, consequence = _WORDS.get(key, (key.replace("_", " ").capitalize(), ""))
        parts.append(
            Part(name, state.get("status") == "ok", state.get("status") == "off", state.get("detail", ""), consequence)
        )
    tone, words, sentence = seal.tile()
    context = {
        "seal_tile": {"tone": tone, "words": words, "sentence": sentence},
        "parts": parts,
        "down": [part for part in parts if not (part.up or part.off)],
        "now": timezone.now(),
    }
    return render(request, "ops/_parts.html" if request.headers.get("HX-Request") else "ops/status.html", context)
