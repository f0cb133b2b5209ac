"""Response headers every page carries: a strict content policy, no sniffing, nothing cached by intermediaries.

Static files are served past the middleware: `static_headers` gives them the same, but for the cache.
"""

from __future__ import annotations

from collections.abc import MutableMapping

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

# htmx is served from here; no inline script or style, nothing from another host.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)

PERMISSIONS_POLICY = "camera=(), geolocation=(), microphone=()"
#: A worker's policy is that of its own file, not of the page: pdf.js loads its decoders, character maps and fonts.
_WORKER_POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'"
_WORKERS = ("/pdf.worker.min.mjs",)


class SecurityHeadersMiddleware(MiddlewareMixin):
    """Adds the headers that do not depend on the page."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


def static_headers(headers: MutableMapping[str, str], path: str, url: str) -> None:
    """Adds what Django's middleware adds to pages to the headers of one static file."""
    headers["Content-Security-Policy"] = _WORKER_POLICY if url.endswith(_WORKERS) else CONTENT_SECURITY_POLICY
    headers["Permissions-Policy"] = PERMISSIONS_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["X-Frame-Options"] = settings.X_FRAME_OPTIONS
    headers["Referrer-Policy"] = settings.SECURE_REFERRER_POLICY
    headers["Cross-Origin-Opener-Policy"] = settings.SECURE_CROSS_ORIGIN_OPENER_POLICY
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if settings.SECURE_HSTS_SECONDS:
        headers["Strict-Transport-Security"] = f"max-age={settings.SECURE_HSTS_SECONDS}"
