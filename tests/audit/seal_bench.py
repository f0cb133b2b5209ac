"""The database that tests of the audit's seal work on, and how events are added to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg

from appliance.audit.tree import leaf_hash
from appliance.ops.environment import maintenance_environment
from appliance.ops.services.postgres import database_url
from appliance.ops.stack import Stack

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass
class Bench:
    """The server, and a database on it that is emptied of events and seals before each test."""

    stack: Stack
    database: str = "reading_room"

    def connect(self, role: str, **options: Any) -> Connection:
        """As one of the database's roles: app, worker, sealer, owner, or the superuser."""
        named = "postgres" if role == "superuser" else f"reading_room_{role}"
        url = database_url(self.stack.data_dir, self.stack.ports.postgres, named, self.database)
        return psycopg.connect(url, **({"autocommit": True} | options))

    @property
    def environment(self) -> dict[str, str]:
        return maintenance_environment(self.stack.environment)


def append(connection: Connection, *, canonical: bytes | None = None) -> int:
    """Adds an event the way `record` does, as the application's role may; returns its id."""
    uid = uuid4()
    data = canonical if canonical is not None else f'{{"id":"{uid}"}}'.encode()
    row = connection.execute(
        "INSERT INTO audit_auditevent (uid, recorded_at, type, action, outcome, actor_name, canonical, leaf_hash) "
        "VALUES (%s, %s, 'access', 'test.look', 'success', '', %s, %s) RETURNING id",
        (uid, datetime.now(UTC), data, leaf_hash(data)),
    ).fetchone()
    assert row is not None
    return int(row[0])
