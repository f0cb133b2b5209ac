"""Where in the appliance code runs: the address of a request as its pattern (never with ids), a task, a command."""

from __future__ import annotations

import contextvars

from django.http import HttpRequest

_place: contextvars.ContextVar[HttpRequest | str] = contextvars.ContextVar("place", default="")


def enter(place: HttpRequest | str) -> None:
    """From here on, in this request, task or command."""
    _place.set(place)


def current_place() -> str:
    """For example "POST /chat/ask", "task documents.ingest", "command ingest"; empty where nobody said."""
    place = _place.get()
    if isinstance(place, str):
        return place
    # Found when the address is resolved, which is after the request came in.
    found = place.resolver_match
    return f"{place.method} /{found.route}" if found is not None else f"{place.method} (no such address)"
