"""A log with tiles above tiles: more than 65,536 leaves."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from datetime import UTC, datetime

from seal_bench import Bench
from tampering import as_attacker

from appliance.audit import keys
from appliance.audit.notes import PrivateKey
from appliance.audit.sealing import Head, seal
from appliance.audit.tree import GrowingTree, leaf_hash, root_from_inclusion, roots_from_consistency
from appliance.audit.verifying import verify_database
from appliance.ops.environment import REPOSITORY

SIZE = 66_000
LEAVES = (0, 255, 256, 40_000, 65_535, 65_536, 65_999)

#: Run inside the appliance's own process: proofs from what is stored.
_PROVE = f"""
import json
from appliance.audit import sealed
included = [sealed.include(index, size) for size in (60_000, 66_000) for index in {LEAVES} if index < size]
grown = [sealed.connect_heads(first, 66_000) for first in (1, 10_000, 60_000, 65_536)]
print(json.dumps({{
    "included": [[p.index, p.size, p.leaf_hash.hex(), [h.hex() for h in p.path]] for p in included],
    "grown": [[p.first, p.second, [h.hex() for h in p.path]] for p in grown],
}}))
"""


def fill(bench: Bench, key: PrivateKey) -> tuple[list[bytes], dict[int, bytes]]:
    """The hashes of the leaves, and the root at each head."""
    hashes, now = [], datetime.now(UTC)
    columns = "uid, recorded_at, type, action, outcome, actor_name, canonical, leaf_hash"
    with bench.connect("app", autocommit=False) as app:
        with app.cursor().copy(f"COPY audit_auditevent ({columns}) FROM STDIN") as copy:
            for number in range(SIZE):
                data = b'{"number":%d}' % number
                hashes.append(leaf_hash(data))
                copy.write_row((uuid.uuid4(), now, "access", "test.look", "success", "", data, hashes[-1]))
        app.commit()
    roots, tree, head = {}, GrowingTree(), Head()
    with bench.connect("sealer") as sealer:
        keys.announce(sealer, key, 0)
        while (after := seal(sealer, key, tree, head)) != head:
            head = after
            roots[head.size] = head.root
    return hashes, roots


def test_tiles_above_tiles_are_checked_and_give_proofs(bench: Bench, key: PrivateKey) -> None:
    hashes, roots = fill(bench, key)
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", _PROVE],
        env=bench.environment,
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    proofs = json.loads(done.stdout.splitlines()[-1])
    assert len(proofs["included"]) == 11 and {60_000, SIZE} <= set(roots)
    for index, size, hashed, path in proofs["included"]:
        assert bytes.fromhex(hashed) == hashes[index]
        assert root_from_inclusion(index, size, hashes[index], [bytes.fromhex(each) for each in path]) == roots[size]
    for first, second, path in proofs["grown"]:
        tree = GrowingTree()
        for _ in tree.append(hashes[:first]):
            pass
        found = roots_from_consistency(first, second, tree.root(), [bytes.fromhex(each) for each in path])
        assert found == (tree.root(), roots[SIZE])
    with as_attacker(bench) as superuser, bench.connect("worker", autocommit=False) as connection:
        assert verify_database(connection, key=str(key.public)).sound
        superuser.execute("UPDATE audit_tile SET hashes = overlay(hashes PLACING '\\x00' FROM 65) WHERE level = 1")
        report = verify_database(connection)
        assert [(each.code, each.position, each.end) for each in report.findings] == [("tile_damaged", 0, 65_536)]
