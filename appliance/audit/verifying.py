"""Brings the database before the verifier: leaves through one cursor, in the order in which they were sealed.

Everything is read in one snapshot, so that a log that grows meanwhile is checked as it was at the beginning. Raw
psycopg: rows arrive in the binary format, and nothing is held but the rows under way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import psycopg

from appliance.audit import verifier
from appliance.audit.verifier import WIDTH, Check, Head, Key, Report, Row

Connection = psycopg.Connection[tuple[Any, ...]]

_BATCH = 32 * WIDTH
_LEAVES = """
SELECT l.index, e.canonical, e.leaf_hash FROM audit_leaf l LEFT JOIN audit_auditevent e ON e.id = l.event_id
ORDER BY l.index
"""
_TILES = "SELECT index, hashes FROM audit_tile WHERE level = %s AND index >= %s ORDER BY index LIMIT %s"
#: Events without a leaf. Those of a transaction that the newest head has sealed over were put in later.
_UNSEALED = """
WITH head AS (
    SELECT CASE c.cluster WHEN (SELECT system_identifier::text FROM pg_control_system()) THEN c.horizon ELSE 0 END
        AS horizon
    FROM audit_checkpoint c ORDER BY c.size DESC LIMIT 1
)
SELECT e.id, e.xid < coalesce((SELECT horizon FROM head), 0) FROM audit_auditevent e
WHERE NOT EXISTS (SELECT FROM audit_leaf l WHERE l.event_id = e.id)
ORDER BY e.id
"""
#: The leaf before which an event would stand, by its key.
_PLACE = "SELECT index FROM audit_leaf WHERE event_id > %s ORDER BY event_id LIMIT 1"
_COLUMNS = """
SELECT l.index, e.canonical, e.leaf_hash, e.uid::text, e.recorded_at, e.type, e.action, e.outcome, e.actor_id::text,
       e.actor_name, e.correlation::text,
       coalesce((
           SELECT json_agg(json_build_array(n.kind, n.object_id, n.version, n.page, n.start, n."end") ORDER BY n.id)
           FROM audit_auditentity n WHERE n.event_id = e.id
       ), '[]'::json)
FROM audit_auditevent e LEFT JOIN audit_leaf l ON l.event_id = e.id ORDER BY e.id
"""
#: Rows that say what an event is about, of events that there are not.
_ORPHANS = """
SELECT n.event_id, count(*) FROM audit_auditentity n
WHERE NOT EXISTS (SELECT FROM audit_auditevent e WHERE e.id = n.event_id) GROUP BY n.event_id ORDER BY n.event_id
"""
_ENTITY_NAMES = ("kind", "id", "version", "page", "start", "end")


def verify_database(
    connection: Connection, *, key: str = "", outside: Mapping[str, str] | None = None, columns: bool = False
) -> Report:
    """Checks the whole log; with `columns` also what repeats parts of an event for filters.

    `key` is the log's first public key and `outside` are texts with checkpoints, both kept outside the appliance.
    The connection must not be in a transaction. Raises CannotRun, or a database error.
    """
    report = Report()
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        connection.execute("SET LOCAL jit = off")
        statements = [row[0] for row in connection.execute("SELECT statement FROM audit_sealkey ORDER BY id")]
        keys = verifier.follow_keys(statements, key, report)
        heads = [*_heads(connection, keys, report), *verifier.outside_heads(outside or {}, keys, report)]
        verifier.check_rows(_leaves(connection), Check(heads, report, Tiles(connection)))
        _unsealed(connection, report)
        if columns:
            _columns(connection, report)
    report.findings.sort(key=lambda finding: finding.position)
    return report


class Tiles:
    """Tiles as the verifier asks for them: of each level in their order, read some ahead."""

    def __init__(self, connection: Connection, *, ahead: int = 64) -> None:
        self._connection = connection
        self._ahead = ahead
        self._read: dict[int, dict[int, bytes]] = {}
        self._until: dict[int, int] = {}

    def __call__(self, level: int, index: int) -> bytes | None:
        if index >= self._until.get(level, 0):
            with self._connection.cursor(binary=True) as cursor:
                rows = cursor.execute(_TILES, (level, index, self._ahead)).fetchall()
            self._read[level] = dict(rows)
            self._until[level] = rows[-1][0] + 1 if len(rows) == self._ahead else 2**63
        return self._read[level].get(index)


def _heads(connection: Connection, keys: list[Key], report: Report) -> Iterator[Head]:
    with connection.cursor("heads") as cursor:
        cursor.itersize = 10_000
        for size, note in cursor.execute("SELECT size, note FROM audit_checkpoint ORDER BY size"):
            head = verifier.read_head(note, keys, report)
            if head is None:
                continue
            yield head
            if head.size != size:
                message = f"the checkpoint of {head.size:,} leaves is kept as one of {size:,}"
                report.add("columns_differ", min(size, head.size), message)


def _leaves(connection: Connection) -> Iterator[list[Row]]:
    with connection.cursor("leaves", binary=True) as cursor:
        cursor.execute(_LEAVES)
        while rows := cursor.fetchmany(_BATCH):
            yield rows


def _unsealed(connection: Connection, report: Report) -> None:
    with connection.cursor("unsealed") as cursor:
        for pk, is_sealed_over in cursor.execute(_UNSEALED):
            if not is_sealed_over:
                report.unsealed += 1
                continue
            message = f"the event with the key {pk:,} has no leaf, though its transaction was sealed over"
            report.add("event_inserted", _place(connection, pk, report), message)


def _place(connection: Connection, pk: int, report: Report) -> int:
    """The leaf before which an event with this key would stand."""
    row = connection.execute(_PLACE, (pk,)).fetchone()
    return row[0] if row else report.size


def _columns(connection: Connection, report: Report) -> None:
    with connection.cursor("columns") as cursor:
        cursor.itersize = 2_000
        for index, canonical, fingerprint, *columns, entities in cursor.execute(_COLUMNS):
            place = report.size if index is None else index
            told = bytes(canonical)
            if index is None and sha256(b"\x00" + told).digest() != bytes(fingerprint):
                report.add("event_edited", place, "an event that is not sealed yet does not have its fingerprint")
            try:
                wanted, things = _expected(json.loads(told))
            except (ValueError, TypeError, KeyError, AttributeError):
                report.add("event_unreadable", place, f"leaf {place:,}: the event's bytes are no event")
                continue
            names = [name for name, value in zip(wanted, columns, strict=True) if _plain(value) != wanted[name]]
            if names:
                report.add("columns_differ", place, f"leaf {place:,}: {', '.join(names)} not as in the event")
            if entities != things:
                report.add("entities_differ", place, f"leaf {place:,}: what it is about is not as in the event")
    with connection.cursor("orphans") as cursor:
        for pk, count in cursor.execute(_ORPHANS):
            message = f"{count:,} things are said of an event with the key {pk:,}, which there is not"
            report.add("entities_differ", _place(connection, pk, report), message)


def _expected(told: dict[str, Any]) -> tuple[dict[str, Any], list[list[Any]]]:
    agent = told["agent"]
    columns = {
        "uid": told["id"],
        "recorded_at": _plain(datetime.fromisoformat(told["recorded"])),
        "type": told["type"],
        "action": told["action"],
        "outcome": told["outcome"],
        "actor_id": agent["user"],
        "actor_name": agent["name"][:150],
        "correlation": told["correlation"],
    }
    return columns, [[thing.get(name) for name in _ENTITY_NAMES] for thing in told["entities"]]


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
