"""A PostgreSQL with the appliance's tables and nobody else on it, for what seals the audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from seal_bench import Bench

from appliance.audit.notes import PrivateKey
from appliance.ops.services.ports import Ports
from appliance.ops.stack import Stack


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
