"""Real locks of the database that hold a worker at one place of its way, so that a test can act there, not near it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from appliance_desk import until


@contextmanager
def held(owner_url: str, table: str) -> Iterator[psycopg.Connection[tuple[int]]]:
    """While inside, nobody can write to the table. Who tries waits, and `waiters` counts them."""
    with psycopg.connect(owner_url) as connection:
        connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        yield connection


def waiters(connection: psycopg.Connection[tuple[int]], table: str) -> int:
    """How many wait for the lock on the table."""
    query = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND NOT granted"
    row = connection.execute(query, [table]).fetchone()
    assert row is not None
    return row[0]


def until_waited_for(connection: psycopg.Connection[tuple[int]], table: str, *, count: int = 1) -> None:
    """Returns when somebody stands at the lock."""
    until(lambda: waiters(connection, table) >= count, every_s=0.02)
