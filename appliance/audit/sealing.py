"""One round of sealing: events that have no leaf yet become leaves, full tiles are kept, the new head is signed.

Appending takes no lock, so events are not seen in the order of their ids: a lower id may commit later. What decides is
the transaction (`xid`). Every event of a transaction below the snapshot's xmin has committed or never will. A head
remembers that xmin as its horizon, and the next round looks at all events from there on that have no leaf: an id that
commits late is sealed late, and none is passed over. After a restore into another cluster, whose transaction ids begin
anew, every event without a leaf is looked for once.

No Django here: the sealer runs with its own database role and knows no other secret than its key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from appliance.audit.notes import Checkpoint, PrivateKey
from appliance.audit.tree import TILE_WIDTH, GrowingTree, Tile, root_of, split

Connection = psycopg.Connection[tuple[Any, ...]]

BATCH = 10_000

_SNAPSHOT = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, (SELECT system_identifier::text FROM pg_control_system())
"""
_LAST = "SELECT size, root, horizon, cluster FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_UNSEALED = """
SELECT e.id, e.leaf_hash, e.xid FROM audit_auditevent e
WHERE e.xid >= %(since)s AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id)
ORDER BY e.xid, e.id LIMIT %(limit)s
"""
_WAITING = """
SELECT count(*), min(recorded_at) FROM (
    SELECT e.recorded_at FROM audit_auditevent e
    WHERE e.xid >= %(since)s AND NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id)
    ORDER BY e.xid, e.id LIMIT %(limit)s
) AS waiting
"""
_EDGE = """
SELECT e.leaf_hash FROM audit_leaf l JOIN audit_auditevent e ON e.id = l.event_id
WHERE l.index >= %s ORDER BY l.index
"""
_TILES = "SELECT hashes FROM audit_tile WHERE level = %s AND index >= %s ORDER BY index"
_SIGN = """
INSERT INTO audit_checkpoint (size, root, note, signed_at, horizon, cluster) VALUES (%s, %s, %s, %s, %s, %s)
"""


class SealBroken(Exception):
    """What is sealed does not fit together, so nothing is signed on top of it. The message says where."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last signed head, or that there is none yet."""

    size: int = 0
    root: bytes = b""
    horizon: int = 0
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events without a leaf, counted up to a limit, and when the first of them was recorded."""

    num_events: int
    oldest: datetime | None


def last_head(connection: Connection) -> Head:
    """The newest checkpoint."""
    row = connection.execute(_LAST).fetchone()
    return Head(row[0], bytes(row[1]), row[2], row[3]) if row else Head()


def waiting(connection: Connection, head: Head, *, limit: int = 1_000) -> Waiting:
    """What there is to seal."""
    _, cluster = _snapshot(connection)
    row = connection.execute(_WAITING, {"since": _since(head, cluster), "limit": limit}).fetchone()
    assert row is not None
    return Waiting(*row)


def load_tree(connection: Connection, head: Head) -> GrowingTree:
    """The sealed tree, ready to grow. Raises SealBroken when what is stored does not give the signed root."""
    tree = GrowingTree(head.size)
    width = head.size
    if head.size:
        first = head.size - head.size % TILE_WIDTH
        tree.edge.append([bytes(row[0]) for row in connection.execute(_EDGE, (first,))])
    while width >= TILE_WIDTH:
        width //= TILE_WIDTH
        level = len(tree.edge)
        below = connection.execute(_TILES, (level - 1, width - width % TILE_WIDTH))
        tree.edge.append([root_of(split(bytes(row[0]))) for row in below])
    if tree.size and tree.root() != head.root:
        raise SealBroken(f"the stored leaves and tiles do not give the root signed at {head.size:,}")
    return tree


def seal(connection: Connection, key: PrivateKey, tree: GrowingTree, head: Head) -> Head:
    """Seals up to BATCH events in one transaction; returns the new head, or `head` when nothing waits.

    `tree` is what `load_tree` gave for `head`, and grows. When this raises, throw it away and load again.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        xmin, cluster = _snapshot(connection)
        rows = connection.execute(_UNSEALED, {"since": _since(head, cluster), "limit": BATCH}).fetchall()
        if not rows:
            return head
        if len(rows) == BATCH:  # there may be more: those of this transaction and of later ones are looked at again
            xmin = min(xmin, rows[-1][2]) if cluster == head.cluster else 0
        with connection.cursor().copy("COPY audit_leaf (index, event_id) FROM STDIN") as copy:
            for place, row in enumerate(rows, start=tree.size):
                copy.write_row((place, row[0]))
        _keep(connection, tree.append(bytes(row[1]) for row in rows))
        now = datetime.now(UTC)
        made = Checkpoint(key.name, tree.size, tree.root(), (f"time {now:%Y-%m-%dT%H:%M:%SZ}",))
        connection.execute(_SIGN, (made.size, made.root, made.signed(key), now, xmin, cluster))
    return Head(made.size, made.root, xmin, cluster)


def _snapshot(connection: Connection) -> tuple[int, str]:
    row = connection.execute(_SNAPSHOT).fetchone()
    assert row is not None
    return row[0], row[1]


def _since(head: Head, cluster: str) -> int:
    return head.horizon if head.cluster == cluster else 0


def _keep(connection: Connection, tiles: Iterable[Tile]) -> None:
    full = [(tile.level, tile.index, tile.hashes) for tile in tiles]
    if full:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO audit_tile (level, index, hashes) VALUES (%s, %s, %s)", full)
