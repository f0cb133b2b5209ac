"""Where a browser goes after a form."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect


def see_other(address: str) -> HttpResponse:
    """303: the page at `address` is fetched with GET, whatever was sent."""
    response = HttpResponseRedirect(address)
    response.status_code = 303
    return response
