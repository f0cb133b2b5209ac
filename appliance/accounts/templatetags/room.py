"""Tags and filters of every template: icons, figures, dates, tones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

_TONES = {
    "queued": "neutral",
    "parsing": "info",
    "embedding": "info",
    "ready": "ok",
    "failed": "bad",
    "quarantined": "warn",
    "success": "ok",
    "refused": "warn",
    "stopped": "neutral",
    "aborted": "bad",
}
_TONE_ICONS = {"ok": "ok", "bad": "bad", "warn": "warn", "info": "clock", "neutral": "clock", "hold": "hold"}


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon of the sprite in `_icons.html`. Says nothing to a screen reader."""
    return format_html('<svg class="icon" aria-hidden="true"><use href="#i-{}"/></svg>', name)


@register.filter
def tone(state: str) -> str:
    """The tone of a version's status or of an outcome."""
    return _TONES.get(str(state), "neutral")


@register.filter
def tone_icon(tone_name: str) -> str:
    """The icon that says the same as a tone."""
    return _TONE_ICONS.get(tone_name, "info")


@register.filter
def count(value: int | None) -> str:
    """A figure with thousands separated by commas."""
    return f"{value or 0:,}"


@register.filter
def things(value: int | None, words: str) -> str:
    """`{{ 2|things:"document documents" }}` is "2 documents"."""
    one, many = words.split(" ", 1)
    return f"{value or 0:,} {one if value == 1 else many}"


@register.filter
def size(num_bytes: int | None) -> str:
    """Bytes as people read them: 812 bytes, 1.4 MB."""
    amount = float(num_bytes or 0)
    if amount < 1000:
        return f"{amount:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if amount >= 100 else f"{amount:.1f} {unit}"
    raise AssertionError("unreachable")


@register.filter
def day(moment: datetime | None) -> str:
    """today, yesterday, or 9 November 2026."""
    if moment is None:
        return ""
    local, today = timezone.localtime(moment).date(), timezone.localdate()
    if local == today:
        return "today"
    if (today - local).days == 1:
        return "yesterday"
    return f"{local.day} {local:%B %Y}"


@register.filter
def clock(moment: datetime | None) -> str:
    """11:52, in the time zone of the site."""
    return f"{timezone.localtime(moment):%H:%M}" if moment else ""


@register.filter
def when(moment: datetime | None) -> str:
    """11:52 today, yesterday at 11:52, 9 November 2026."""
    if moment is None:
        return ""
    named = day(moment)
    return f"{named} at {clock(moment)}" if named in {"today", "yesterday"} else named


@register.filter
def time_left(moment: datetime) -> str:
    """How long until a moment, in minutes begun: 1 minute, 25 minutes."""
    minutes = max(0, -int((timezone.now() - moment).total_seconds() // 60))
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


@register.filter
def deeper(tag: str, levels: int) -> str:
    """A heading's tag so many levels below another: "h2" and 1 are "h3". Never below h6."""
    return f"h{min(int(tag[1]) + levels, 6)}"


@register.filter
def unit(shown: Any) -> str:
    """What a page or version counts in: pages of the file, or parts where it has none."""
    return "Page" if shown.paginated else "Part"


@register.filter
def fingerprint(digest: str) -> str:
    """The first and last digits of a SHA-256, for comparing by eye."""
    return f"{digest[:4]} {digest[4:8]} … {digest[-4:]}" if len(digest) > 12 else digest


@register.filter
def file_kind(media_type: str) -> str:
    """A media type in the words people use."""
    return {
        "application/pdf": "PDF",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "Word",
        "text/markdown": "Markdown",
        "text/html": "HTML",
        "text/plain": "Text",
    }.get(media_type, media_type or "File")
