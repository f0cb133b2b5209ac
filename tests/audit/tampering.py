"""A sealed log to tamper with: events as the appliance writes them, and attacks as the database's superuser."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from seal_bench import Bench

from appliance.audit import keys
from appliance.audit.notes import PrivateKey
from appliance.audit.sealing import Head, last_head, load_tree, seal
from appliance.audit.tree import TILE_WIDTH, GrowingTree, leaf_hash

Connection = psycopg.Connection[tuple[Any, ...]]
Attack = Callable[[Connection], object]

#: Leaves of the log: two full tiles, a tail without one, and a head at each size.
HEADS = (300, 520, 600, 610)
_INSERT = """
WITH event AS (
    INSERT INTO audit_auditevent (uid, recorded_at, type, action, outcome, actor_id, actor_name, canonical, leaf_hash)
    VALUES (%s, %s, 'access', 'document.page', 'success', %s, 'alice', %s, %s) RETURNING id
), entity AS (
    INSERT INTO audit_auditentity (event_id, kind, object_id, version, page) SELECT id, 'document', %s, 2, 5 FROM event
)
SELECT id FROM event
"""


def made(number: int) -> tuple[Any, ...]:
    """What is inserted for an event: a page of a document was opened."""
    uid, person, document = (str(uuid.uuid4()) for _ in range(3))
    at = datetime.now(UTC)
    told = {
        "v": 1,
        "id": uid,
        "recorded": at.isoformat(timespec="microseconds"),
        "type": "access",
        "action": "document.page",
        "outcome": "success",
        "agent": {"user": person, "name": "alice", "session": "", "token": "", "address": ""},
        "correlation": None,
        "entities": [{"kind": "document", "id": document, "version": 2, "page": 5}],
        "detail": {"number": number},
    }
    data = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    return uid, at, person, data, leaf_hash(data), document


def write(connection: Connection, number: int) -> int:
    """Adds an event with what it is about; returns its key."""
    row = connection.execute(_INSERT, made(number)).fetchone()
    assert row is not None
    return int(row[0])


def sealed_log(bench: Bench, key: PrivateKey) -> None:
    """610 events under four heads."""
    with bench.connect("sealer") as sealer:
        keys.announce(sealer, key, 0)
    done = 0
    for size in HEADS:
        with bench.connect("app", autocommit=False) as app:
            with app.pipeline(), app.cursor() as cursor:
                cursor.executemany(_INSERT, [made(number) for number in range(done, size)])
            app.commit()
        done = seal_all(bench, key).size


def seal_all(bench: Bench, key: PrivateKey) -> Head:
    """What waits gets its leaves and a head."""
    with bench.connect("sealer") as sealer:
        head = last_head(sealer)
        tree = load_tree(sealer, head)
        assert isinstance(tree, GrowingTree)
        return seal(sealer, key, tree, head)


@contextmanager
def as_attacker(bench: Bench) -> Iterator[Connection]:
    """The database's superuser, past every trigger."""
    with bench.connect("superuser") as superuser:
        superuser.execute("SET session_replication_role = replica")
        yield superuser


def event_at(connection: Connection, index: int) -> int:
    """The key of the event at a leaf."""
    row = connection.execute("SELECT event_id FROM audit_leaf WHERE index = %s", (index,)).fetchone()
    assert row is not None
    return int(row[0])


def edit(index: int, *, fingerprint: bool = False, tile: bool = False) -> Attack:
    """Changes an event's bytes; and what is kept of them."""

    def attack(superuser: Connection) -> None:
        pk = event_at(superuser, index)
        row = superuser.execute("SELECT canonical FROM audit_auditevent WHERE id = %s", (pk,)).fetchone()
        assert row is not None
        new = bytes(row[0]).replace(b'"alice"', b'"mallo"')
        superuser.execute("UPDATE audit_auditevent SET canonical = %s WHERE id = %s", (new, pk))
        if fingerprint:
            superuser.execute("UPDATE audit_auditevent SET leaf_hash = %s WHERE id = %s", (leaf_hash(new), pk))
        if tile:
            superuser.execute(
                "UPDATE audit_tile SET hashes = overlay(hashes PLACING %s FROM %s) WHERE level = 0 AND index = %s",
                (leaf_hash(new), index % TILE_WIDTH * 32 + 1, index // TILE_WIDTH),
            )

    return attack


def delete_event(index: int) -> Attack:
    return lambda superuser: superuser.execute(
        "DELETE FROM audit_auditevent WHERE id = %s", (event_at(superuser, index),)
    )


def delete_leaf(index: int, *, renumber: bool = False) -> Attack:
    """Removes an event with its leaf; `renumber` closes the gap."""

    def attack(superuser: Connection) -> None:
        delete_event(index)(superuser)
        superuser.execute("DELETE FROM audit_leaf WHERE index = %s", (index,))
        if renumber:
            superuser.execute("UPDATE audit_leaf SET index = -index WHERE index > %s", (index,))
            superuser.execute("UPDATE audit_leaf SET index = -index - 1 WHERE index < 0")

    return attack


def swap(first: int, second: int) -> Attack:
    def attack(superuser: Connection) -> None:
        one, other = event_at(superuser, first), event_at(superuser, second)
        superuser.execute("DELETE FROM audit_leaf WHERE index = %s", (second,))
        superuser.execute("UPDATE audit_leaf SET event_id = %s WHERE index = %s", (other, first))
        superuser.execute("INSERT INTO audit_leaf (index, event_id) VALUES (%s, %s)", (second, one))

    return attack


def insert_event(before: int) -> Attack:
    """An event of a transaction that was sealed over, with a key that stands before a leaf's."""

    def attack(superuser: Connection) -> None:
        pk = write(superuser, -1)
        superuser.execute("UPDATE audit_auditentity SET event_id = 0 WHERE event_id = %s", (pk,))
        superuser.execute("UPDATE audit_auditevent SET xid = 3, id = 0 WHERE id = %s", (pk,))
        assert before == 0

    return attack


def insert_leaf(superuser: Connection) -> None:
    """An event with a leaf, behind the newest head."""
    superuser.execute("INSERT INTO audit_leaf (index, event_id) VALUES (610, %s)", (write(superuser, -1),))


def cut(size: int, *, heads: bool) -> Attack:
    """Removes what is behind `size`; with `heads` as if it had never been."""

    def attack(superuser: Connection) -> None:
        superuser.execute(
            "DELETE FROM audit_auditevent WHERE id IN (SELECT event_id FROM audit_leaf WHERE index >= %s)", (size,)
        )
        superuser.execute("DELETE FROM audit_leaf WHERE index >= %s", (size,))
        superuser.execute("DELETE FROM audit_tile WHERE (index + 1) * %s > %s", (TILE_WIDTH, size))
        if heads:
            superuser.execute("DELETE FROM audit_checkpoint WHERE size > %s", (size,))

    return attack
