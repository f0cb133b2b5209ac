"""Real locks of the database that keep a worker at one place of its way, so that one can act there and not near it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


def await_(check: Callable[[], T], what: str, *, timeout_s: float = 120.0, every_s: float = 0.01) -> T:
    """The first true result of `check`. Raises TimeoutError that says what was awaited."""
    deadline = time.monotonic() + timeout_s
    while not (result := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still waiting for {what} after {timeout_s:g} s: {result!r}")
        time.sleep(every_s)
    return result


class Hold:
    """A transaction that others wait for, as long as it is open."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def waiters(self) -> int:
        """How many connections wait for it."""
        self._connection.execute("SELECT pg_stat_clear_snapshot()")  # else the list stays that of the first look
        query = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0

    def await_waiters(self, count: int = 1) -> None:
        """Returns when so many stand at it."""
        await_(lambda: self.waiters() >= count, f"{count} at the lock")


@contextmanager
def held(owner_url: str, table: str) -> Iterator[Hold]:
    """While inside, nobody can write to the table: who tries waits."""
    with psycopg.connect(owner_url) as connection:
        connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        yield Hold(connection)
        connection.rollback()


@contextmanager
def names_held(owner_url: str, collection: str, names: list[str]) -> Iterator[Hold]:
    """While inside, nobody can make a document of one of these names: who tries waits, all it made before stands."""
    insert = """INSERT INTO documents_document
                  (id, collection_id, filename, title, wrapped_key, newest_when_chosen, created_at)
                VALUES (gen_random_uuid(), %s, %s, '', '', 0, now())"""
    with psycopg.connect(owner_url) as connection:
        for name in names:
            connection.execute(insert, [collection, name])
        yield Hold(connection)
        connection.rollback()
