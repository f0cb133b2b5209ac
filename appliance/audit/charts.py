"""Events day by day: how many, how many refused, how many outside working hours. Drawn as SVG attributes alone."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connection

from appliance.audit import hours

MAX_DAYS = 100
#: The drawing is this wide and high; the page stretches it.
WIDTH, HEIGHT = 300.0, 100.0

_BY_DAY = f"""
SELECT (e.recorded_at AT TIME ZONE %(zone)s)::date AS day, count(*),
       count(*) FILTER (WHERE e.outcome = 'refused'),
       count(*) FILTER (WHERE e.actor_id IS NOT NULL AND {hours.SQL})
FROM audit_auditevent e WHERE e.recorded_at >= %(start)s AND e.recorded_at < %(end)s
    AND (%(person)s::uuid IS NULL OR e.actor_id = %(person)s::uuid)
GROUP BY day
"""


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the site's time zone."""

    day: date
    num_events: int
    num_refused: int
    num_after_hours: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a drawing, as attributes of a rect."""

    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Chart:
    """One figure of each day. `top` is what the highest line of the drawing stands for; `words` say it all."""

    title: str
    bars: list[Bar]
    top: int
    words: str
    kind: str


def days(start: datetime, end: datetime, first: date, *, person: uuid.UUID | None = None) -> list[Day]:
    """Each day from `first` (the day of `start`) to `end`, those without events too."""
    parameters = hours.parameters() | {"start": start, "end": end, "person": person}
    with connection.cursor() as cursor:
        cursor.execute(_BY_DAY, parameters)
        found = {row[0]: Day(*row) for row in cursor.fetchall()}
    num_days = round((end - start) / timedelta(days=1))
    wanted = [first + timedelta(days=n) for n in range(num_days)]
    return [found.get(day, Day(day, 0, 0, 0)) for day in wanted]


def drawn(title: str, found: list[Day], values: list[int], kind: str) -> Chart:
    """A bar for each day."""
    top = _round_up(max(values, default=0))
    step = WIDTH / max(1, len(values))
    bars = [
        Bar(
            f"{place * step + step * 0.12:.2f}",
            f"{HEIGHT - HEIGHT * value / top:.2f}",
            f"{step * 0.76:.2f}",
            f"{HEIGHT * value / top:.2f}",
        )
        for place, value in enumerate(values)
    ]
    return Chart(title, bars, top, _words(found, values), kind)


def _round_up(value: int) -> int:
    """To 1, 2 or 5 and noughts, at least 2, so that its half is a whole number or nearly."""
    scale = 1
    while True:
        for step in (2, 4, 10):
            if value <= step * scale:
                return step * scale
        scale *= 10


def _words(found: list[Day], values: list[int]) -> str:
    if not any(values):
        return "None on any day."
    most = max(range(len(values)), key=values.__getitem__)
    day = found[most].day
    return f"{sum(values):,} in all; most on {day.day} {day:%B}, with {values[most]:,}."
