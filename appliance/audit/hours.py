"""Working hours: what lies outside them is looked at more closely."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone


def is_after_hours(moment: datetime) -> bool:
    """Whether nobody is expected to work then, in the site's time zone. A shift over midnight belongs to its first
    day."""
    local = timezone.localtime(moment)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    start, end = settings.WORKING_HOURS
    if start < end:
        return not (start <= minute < end and day in settings.WORKING_DAYS)
    if minute < end:
        return (day - 1) % 7 not in settings.WORKING_DAYS
    return not (minute >= start and day in settings.WORKING_DAYS)


#: The same in SQL, of an event `e`; `parameters()` are its values.
SQL = """
CASE WHEN %(opens)s < %(closes)s THEN NOT (
    extract(epoch FROM (e.recorded_at AT TIME ZONE %(zone)s)::time) / 60 >= %(opens)s
    AND extract(epoch FROM (e.recorded_at AT TIME ZONE %(zone)s)::time) / 60 < %(closes)s
    AND extract(isodow FROM e.recorded_at AT TIME ZONE %(zone)s)::int - 1 = ANY (%(days)s::int[]))
WHEN extract(epoch FROM (e.recorded_at AT TIME ZONE %(zone)s)::time) / 60 < %(closes)s
    THEN NOT ((extract(isodow FROM e.recorded_at AT TIME ZONE %(zone)s)::int + 5) %% 7 = ANY (%(days)s::int[]))
ELSE NOT (extract(epoch FROM (e.recorded_at AT TIME ZONE %(zone)s)::time) / 60 >= %(opens)s
    AND extract(isodow FROM e.recorded_at AT TIME ZONE %(zone)s)::int - 1 = ANY (%(days)s::int[])) END
"""


def parameters() -> dict[str, Any]:
    """For SQL."""
    opens, closes = settings.WORKING_HOURS
    return {
        "opens": opens,
        "closes": closes,
        "days": sorted(settings.WORKING_DAYS),
        "zone": timezone.get_default_timezone_name(),
    }
