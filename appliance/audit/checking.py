"""Everything sealed, computed once more: each event's fingerprint, and the root of every checkpoint.

The appliance looks at itself here, by the clock and when an officer asks, and keeps what it found. Proof for others is
the standalone verifier over an export, with checkpoints that left the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection, transaction

from appliance.audit.models import Checkpoint, Verification
from appliance.audit.tree import GrowingTree, leaf_hash

_LOCK = 0x5EA1C4EC
_KEPT = 1_000
_LEAVES = """
SELECT l.index, e.canonical, e.leaf_hash FROM audit_leaf l LEFT JOIN audit_auditevent e ON e.id = l.event_id
WHERE l.index < %s ORDER BY l.index
"""


@dataclass(frozen=True, slots=True)
class Found:
    """Up to which leaf it was looked, and what is wrong; an empty `problem` is sound."""

    size: int
    problem: str = ""


def do_check() -> Verification | None:
    """Looks at everything up to the newest checkpoint and keeps what was found. None while another check runs."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        if not cursor.fetchone()[0]:
            return None
        found = check()
        kept = Verification.objects.create(size=found.size, sound=not found.problem, problem=found.problem[:500])
        old = Verification.objects.order_by("-at").values_list("pk", flat=True)[_KEPT:]
        Verification.objects.filter(pk__in=list(old), sound=True).delete()
    return kept


def check() -> Found:
    """One walk over the leaves. Inside a transaction; memory does not grow with the audit."""
    heads = dict(Checkpoint.objects.order_by("size").values_list("size", "root"))
    if not heads:
        return Found(0)
    tree, last = GrowingTree(), max(heads)
    for index, canonical, stored in _leaves(last):
        if index != tree.size:
            return Found(tree.size, f"Event {tree.size + 1:,} of the sealed order is missing.")
        if canonical is None:
            return Found(tree.size, f"Event {index + 1:,} of the sealed order was deleted.")
        hashed = leaf_hash(canonical)
        if hashed != bytes(stored):
            return Found(tree.size, f"Event {index + 1:,} of the sealed order was changed.")
        for _ in tree.append((hashed,)):
            pass
        if tree.size in heads and tree.root() != bytes(heads[tree.size]):
            return Found(tree.size, f"The events do not give the root that was signed at {tree.size:,}.")
    if tree.size < last:
        return Found(tree.size, f"Events from {tree.size + 1:,} to {last:,} of the sealed order are missing.")
    return Found(last)


def _leaves(size: int) -> Iterator[tuple[int, bytes | None, bytes]]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(_LEAVES, [size])
        while rows := cursor.fetchmany(5_000):
            for index, canonical, stored in rows:
                yield index, None if canonical is None else bytes(canonical), stored


def latest() -> Verification | None:
    """What the last check found."""
    return Verification.objects.order_by("-at").first()
