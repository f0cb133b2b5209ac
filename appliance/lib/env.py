"""Settings from the environment, parsed loudly: a wrong value stops the start and names the setting."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

T = TypeVar("T")


class SettingError(Exception):
    """A setting is missing or cannot be read. The message begins with its name."""


def _raw(name: str) -> str | None:
    value = os.environ.get(name, "").strip()
    return value or None


def _parsed(name: str, default: T, parse: Callable[[str], T], kind: str) -> T:
    raw = _raw(name)
    if raw is None:
        return default
    try:
        return parse(raw)
    except ValueError:
        raise SettingError(f"{name}: {raw!r} is not {kind}.") from None


def text(name: str, default: str = "") -> str:
    """A plain string; surrounding space is dropped."""
    return _raw(name) or default


def integer(name: str, default: int, *, minimum: int = 0) -> int:
    """A whole number of at least `minimum`."""
    value = _parsed(name, default, int, "a whole number")
    if value < minimum:
        raise SettingError(f"{name}: {value} is below the least allowed, {minimum}.")
    return value


def seconds(name: str, default: float) -> float:
    """A duration in seconds, above zero."""
    value = _parsed(name, default, float, "a number of seconds")
    if not 0 < value < math.inf:  # also false for nan
        raise SettingError(f"{name}: {value} is not a time above zero.")
    return value


def boolean(name: str, default: bool) -> bool:
    """true/false, yes/no, on/off, 1/0."""
    raw = _raw(name)
    if raw is None:
        return default
    if raw.lower() in {"1", "true", "yes", "on"}:
        return True
    if raw.lower() in {"0", "false", "no", "off"}:
        return False
    raise SettingError(f"{name}: {raw!r} is neither true nor false.")


def choice(name: str, default: str, options: tuple[str, ...]) -> str:
    """One of `options`."""
    value = text(name, default)
    if value not in options:
        raise SettingError(f"{name}: {value!r} is not one of {', '.join(options)}.")
    return value


def several(name: str, options: tuple[str, ...]) -> frozenset[str]:
    """Any of `options`, separated by commas; none by default."""
    given = names(name, "")
    for value in given:
        if value not in options:
            raise SettingError(f"{name}: {value!r} is not one of {', '.join(options)}.")
    return frozenset(given)


def names(name: str, default: str) -> list[str]:
    """A comma-separated list."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def hours(name: str, default: str) -> tuple[int, int]:
    """Opening and closing time as HH:MM-HH:MM, in minutes after midnight; 24:00 is the day's end.

    It may close before it opens: then over midnight. Equal times are refused.
    """
    value = text(name, default)
    found = re.fullmatch(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)", value)
    opens, closes = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3)) if found else (0, 0)
    if opens == closes or max(opens, closes) > 24 * 60:
        raise SettingError(f"{name}: {value!r} is not a time of day like 07:00-19:00.")
    return opens, closes


_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def weekdays(name: str, default: str) -> frozenset[int]:
    """Days like mon-fri or mon,wed,fri-sun; Monday is 0."""
    found: set[int] = set()
    for part in names(name, default):
        first, _, last = part.lower().partition("-")
        if first not in _WEEK or (last or first) not in _WEEK:
            raise SettingError(f"{name}: {part!r} is not a day like mon, or days like mon-fri.")
        begin, end = _WEEK.index(first), _WEEK.index(last or first)
        found |= {day % 7 for day in range(begin, end + 1 if begin <= end else end + 8)}
    return frozenset(found)


def socket_address(name: str) -> str | tuple[str, int] | None:
    """Where a local service listens: the path of a Unix socket, or host:port. None where it is not set."""
    value = text(name)
    if not value or value.startswith("/"):
        return value or None
    host, _, port = value.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise SettingError(f"{name}: {value!r} is neither the path of a socket nor host:port.")
    return host.strip("[]"), int(port)


def secret(name: str) -> str:
    """A secret from `NAME_FILE` (preferred) or `NAME`.

    Raises SettingError when neither is set, when both are, or when the file cannot be read.
    """
    value, path = _raw(name), _raw(f"{name}_FILE")
    if value and path:
        raise SettingError(f"{name}: set either {name} or {name}_FILE, not both.")
    if value:
        return value
    if path is None:
        raise SettingError(f"{name}: not set. Point {name}_FILE at a file that holds it.")
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{name}_FILE: {path} cannot be read ({error}).") from None
    if not content:
        raise SettingError(f"{name}_FILE: {path} is empty.")
    return content


def given(name: str) -> bool:
    """Whether the site set NAME or NAME_FILE to something."""
    return bool(_raw(name) or _raw(f"{name}_FILE"))


def database(name: str) -> dict[str, Any]:
    """Django's connection settings from `postgresql://user:password@host:port/name` in NAME or NAME_FILE."""
    parts = urlsplit(secret(name))
    try:
        port = parts.port or 5432
    except ValueError:
        raise SettingError(f"{name}: the port is not a number.") from None
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname or len(parts.path) < 2:
        raise SettingError(f"{name}: not a postgresql://user:password@host:port/name address.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname,
        "PORT": port,
    }
