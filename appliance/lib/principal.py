"""For whom the code runs. The database is told at each transaction, and shows that person's rows only.

Unset means nobody: a process that signs in to the database as the application then sees no document at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_principal: ContextVar[uuid.UUID | None] = ContextVar("principal", default=None)


def current_principal() -> uuid.UUID | None:
    """The person this code runs for, None for nobody."""
    return _principal.get()


def become(person: uuid.UUID | None) -> None:
    """From here on, in this request or task, code runs for `person`. Threads and tasks started from it inherit that."""
    _principal.set(person)


@contextmanager
def acting_as(person: uuid.UUID | None) -> Iterator[None]:
    """Runs a block for `person`, then for whoever it was before."""
    token = _principal.set(person)
    try:
        yield
    finally:
        _principal.reset(token)
