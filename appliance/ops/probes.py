"""What load balancers and the runner ask: /api/v1/health/live and /ready. Open to all, so they name no details."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_GET

from appliance.ops import health


@require_GET
def live(request: HttpRequest) -> JsonResponse:
    """Whether the web process runs."""
    return JsonResponse({"status": "live"})


@require_GET
def ready(request: HttpRequest) -> JsonResponse:
    """Whether questions can be answered now: 200 when all parts are up, else 503."""
    found = health.check()
    parts = {name: part["status"] for name, part in found.items()}
    # Without the directory whoever is signed in goes on for a while, and local accounts can sign in.
    needed = [part for name, part in found.items() if name != "directory"]
    whole = "ready" if all(health.is_well(part) for part in needed) else "not_ready"
    return JsonResponse({"status": whole, "parts": parts}, status=200 if whole == "ready" else 503)
