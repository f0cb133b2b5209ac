"""For whom the code runs. The database is told at each transaction, and shows that person's rows only.

Unset means nobody: a process that signs in to the database as the application then sees no document at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """A person, and when they come with a token made for some collections, only those."""

    person: uuid.UUID
    collections: tuple[uuid.UUID, ...] | None = None


_principal: ContextVar[Principal | None] = ContextVar("principal", default=None)


def current_principal() -> Principal | None:
    """Whom this code runs for, None for nobody."""
    return _principal.get()


def become(person: uuid.UUID | None, collections: Iterable[uuid.UUID] | None = None) -> None:
    """From here on, in this request or task, code runs for `person`. Threads and tasks started from it inherit that."""
    _principal.set(_of(person, collections))


@contextmanager
def acting_as(person: uuid.UUID | None, collections: Iterable[uuid.UUID] | None = None) -> Iterator[None]:
    """Runs a block for `person`, then for whoever it was before."""
    token = _principal.set(_of(person, collections))
    try:
        yield
    finally:
        _principal.reset(token)


def _of(person: uuid.UUID | None, collections: Iterable[uuid.UUID] | None) -> Principal | None:
    if person is None:
        return None
    return Principal(person, None if collections is None else tuple(sorted(set(collections))))
