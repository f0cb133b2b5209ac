"""QR codes, drawn here: no picture leaves or enters the appliance."""

from __future__ import annotations

import io

import segno
from django.utils.safestring import SafeString, mark_safe


def qr_svg(text: str, *, scale: int = 4) -> SafeString:
    """Inline SVG, black on white in both themes, with the quiet margin that readers need."""
    target = io.BytesIO()
    segno.make(text, micro=False).save(
        target, kind="svg", xmldecl=False, svgns=False, scale=scale, border=4, dark="#000", light="#fff", nl=False
    )
    return mark_safe(target.getvalue().decode())  # (made by segno: it holds squares, not the text)
