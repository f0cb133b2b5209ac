"""How often: an allowance for each person (chat, search) or address (sign-in), refilled steadily.

The generic cell rate algorithm (ITU-T I.371): one moment per key says when the whole allowance is there again. It is
kept in PostgreSQL because several web processes share it and a restart must not refill it; Redis may hold nothing
that matters. One statement reads and takes, so that requests at the same instant cannot both have the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from appliance.accounts.models import Allowance
from appliance.lib.errors import RateLimited

WINDOW_S = 60.0

_TAKE = """
INSERT INTO accounts_allowance AS a (key, used_until)
VALUES (%(key)s, clock_timestamp() + %(step)s * interval '1 second')
ON CONFLICT (key) DO UPDATE
SET used_until = greatest(a.used_until, clock_timestamp()) + %(step)s * interval '1 second'
WHERE greatest(a.used_until, clock_timestamp()) + %(step)s * interval '1 second'
      <= clock_timestamp() + %(window)s * interval '1 second'
RETURNING 1
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is counted, by the setting that says how many a minute. 0: not counted."""

    name: str
    setting: str


CHAT = Kind("chat", "CHAT_PER_MINUTE")
SEARCH = Kind("search", "SEARCH_PER_MINUTE")
SIGN_IN = Kind("sign-in", "SIGN_IN_PER_MINUTE")
SECOND_FACTOR = Kind("second-factor", "SECOND_FACTOR_PER_MINUTE")


def take(kind: Kind, whose: object) -> None:
    """Takes one of what `whose` (a person's id, an address) may do in a minute. Raises RateLimited when all is used."""
    limit = int(getattr(settings, kind.setting))
    if limit == 0:
        return
    key, step = f"{kind.name}:{whose}"[:120], WINDOW_S / limit
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"key": key, "step": step, "window": WINDOW_S + step / 1000})
        if cursor.fetchone():
            return
    used_until = Allowance.objects.values_list("used_until", flat=True).get(key=key)
    raise RateLimited(retry_after_s=(used_until - timezone.now()).total_seconds() + step - WINDOW_S)


def forget_old() -> None:
    """Removes what says nothing any more."""
    Allowance.objects.filter(used_until__lt=timezone.now() - timedelta(seconds=WINDOW_S)).delete()
