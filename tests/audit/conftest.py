"""A PostgreSQL with the appliance's tables and nobody else on it, for what seals the audit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from appliance.audit.notes import PrivateKey
from appliance.audit.tree import leaf_hash
from appliance.ops.environment import maintenance_environment
from appliance.ops.services.ports import Ports
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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    base: Path = tmp_path_factory.mktemp("audit")
    for folder in (base, base.parent, base.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)
    with Stack(base / "data", ports=Ports.free(), parts=("postgres",), environment={}) as stack:
        stack.manage("migrate", "--database", "owner", "--no-input")
        yield stack


@pytest.fixture
def bench(server: Stack) -> Bench:
    bench = Bench(server)
    with bench.connect("superuser") as superuser:
        superuser.execute("SET session_replication_role = replica")  # past the triggers that refuse exactly this
        superuser.execute(
            "TRUNCATE audit_auditevent, audit_auditentity, audit_leaf, audit_tile, audit_checkpoint, audit_sealkey, "
            "audit_delivery, audit_cosignature CASCADE"
        )
    return bench


@pytest.fixture
def key() -> PrivateKey:
    return PrivateKey.make("reading-room/test")
