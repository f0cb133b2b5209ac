"""What is sealed, as it is read: heads, and proofs that an event is in the log and that the log only grew.

Proofs come from the tiles, so that one costs a handful of rows however large the log is. Whoever gets one needs
nothing of ours to check it: SHA-256, and the root in a checkpoint that they hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db import connection

from appliance.audit import tree
from appliance.audit.models import Checkpoint, Leaf, Tile
from appliance.audit.tree import TILE_WIDTH
from appliance.lib.errors import BadRequest, Conflict, NotFound

_TILE_LEVELS = TILE_WIDTH.bit_length() - 1
_HASHES = """
SELECT e.leaf_hash FROM audit_leaf l JOIN audit_auditevent e ON e.id = l.event_id
WHERE l.index >= %s AND l.index < %s ORDER BY l.index
"""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That leaf `index` with the hash `leaf_hash` is in the tree of `size` leaves; `checkpoint` signs its root."""

    index: int
    size: int
    leaf_hash: bytes
    path: list[bytes]
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class Consistency:
    """That the tree of `first` leaves is the beginning of that of `second`; None where no head was signed there."""

    first: int
    second: int
    path: list[bytes]
    first_checkpoint: Checkpoint | None
    second_checkpoint: Checkpoint | None


class SealedNodes:
    """Roots of perfect subtrees, for `audit.tree`. Keeps the tiles it has read: make one for each proof."""

    def __init__(self) -> None:
        self._tiles: dict[tuple[int, int], list[bytes] | None] = {}

    def __call__(self, level: int, index: int) -> bytes:
        """Of the 2**level leaves from `index << level` on. Raises Conflict where what is stored has a hole."""
        tile_level, within = divmod(level, _TILE_LEVELS)
        return tree.root_of(self._hashes(tile_level, index << within, 1 << within))

    def _hashes(self, level: int, start: int, count: int) -> list[bytes]:
        number, place = divmod(start, TILE_WIDTH)
        tile = self._tile(level, number)
        if tile is not None:
            return tile[place : place + count]
        if level:
            self._read_ahead(level - 1, start, count)
            below = (self._hashes(level - 1, index * TILE_WIDTH, TILE_WIDTH) for index in range(start, start + count))
            return [tree.root_of(hashes) for hashes in below]
        with connection.cursor() as cursor:
            cursor.execute(_HASHES, (start, start + count))
            found = [bytes(row[0]) for row in cursor.fetchall()]
        if len(found) != count:
            raise Conflict(
                f"Events between the leaves {start:,} and {start + count - 1:,} are gone.",
                hint="The audit is damaged: run manage.py verify_audit.",
                code="audit_damaged",
            )
        return found

    def _tile(self, level: int, number: int) -> list[bytes] | None:
        if (level, number) not in self._tiles:
            self._read_ahead(level, number, 1)
        return self._tiles[level, number]

    def _read_ahead(self, level: int, first: int, count: int) -> None:
        self._tiles |= {(level, number): None for number in range(first, first + count)}
        rows = Tile.objects.filter(level=level, index__gte=first, index__lt=first + count)
        for number, hashes in rows.values_list("index", "hashes"):
            self._tiles[level, number] = tree.split(bytes(hashes))


def newest_head() -> Checkpoint:
    """The newest signed head. Raises NotFound (`nothing_sealed`)."""
    found = Checkpoint.objects.order_by("-size").first()
    if found is None:
        raise NotFound("Nothing is sealed yet.", hint="Try again in a few seconds.", code="nothing_sealed")
    return found


def include(index: int, size: int | None = None) -> Inclusion:
    """The proof for a leaf in the tree of `size` leaves, the newest by default. Raises NotFound, Conflict."""
    size = _within(size)
    if not 0 <= index < size:
        raise NotFound(f"The tree of {size:,} leaves has no leaf {index:,}.", code="leaf_not_found")
    nodes = SealedNodes()
    hashed = Leaf.objects.filter(index=index).values_list("event__leaf_hash", flat=True).first()
    path = tree.inclusion_proof(index, size, nodes)
    return Inclusion(index, size, nodes(0, index) if hashed is None else bytes(hashed), path, _head_at(size))


def connect_heads(first: int, second: int | None = None) -> Consistency:
    """The proof from one tree to a later one, the newest by default. Raises NotFound, BadRequest, Conflict."""
    second = _within(second)
    if not 0 < first <= second:
        raise BadRequest(f"No proof leads from {first:,} leaves to {second:,}.", code="invalid_request")
    path = tree.consistency_proof(first, second, SealedNodes())
    return Consistency(first, second, path, _head_at(first), _head_at(second))


def _within(size: int | None) -> int:
    newest = newest_head().size
    if size is not None and size > newest:
        raise NotFound(f"Only {newest:,} events are sealed.", code="checkpoint_not_found")
    return newest if size is None else size


def _head_at(size: int) -> Checkpoint | None:
    return Checkpoint.objects.filter(size=size).first()
