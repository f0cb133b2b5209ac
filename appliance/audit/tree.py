"""The Merkle tree of RFC 6962 (section 2.1): hashes, roots and proofs. Hashes are 32 bytes of SHA-256.

Sealed leaves are kept in tiles of 256 hashes, as C2SP's tlog-tiles has it: a tile of level 0 holds leaf hashes, one of
level L the roots of 256 tiles of level L-1. A tile is written once, when it is full; what is not full follows from
the level below. No Django here: the sealer and the standalone verifier work without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

TILE_WIDTH = 256
HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

#: The root of the perfect subtree of 2**level leaves that begins at leaf `index << level`: (level, index) -> 32 bytes.
NodeReader = Callable[[int, int], bytes]


def leaf_hash(data: bytes) -> bytes:
    """Of a leaf's bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two neighbouring subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes of one level, of which only the last may stand for an incomplete subtree."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        pairs = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) & ~1 :]
    return level[0]


@dataclass(slots=True)
class Tile:
    """A full tile: `hashes` are 256 times 32 bytes."""

    level: int
    index: int
    hashes: bytes


@dataclass(slots=True)
class GrowingTree:
    """A tree that leaves are added to. `edge[level]` are the hashes of the tile of that level that is not full yet."""

    size: int = 0
    edge: list[list[bytes]] = field(default_factory=list)

    def append(self, hashes: Iterable[bytes]) -> Iterator[Tile]:
        """Adds leaf hashes; yields each tile that becomes full. Run it to its end."""
        for hashed in hashes:
            self.size += 1
            yield from self._add(0, hashed)

    def root(self) -> bytes:
        """Of all leaves so far."""
        if self.size == 0:
            return EMPTY_ROOT
        below: bytes | None = None
        for hashes in self.edge:
            level = hashes if below is None else [*hashes, below]
            below = root_of(level) if level else None
        assert below is not None
        return below

    def _add(self, level: int, hashed: bytes) -> Iterator[Tile]:
        if level == len(self.edge):
            self.edge.append([])
        hashes = self.edge[level]
        hashes.append(hashed)
        if len(hashes) == TILE_WIDTH:
            above = 8 * (level + 1)
            yield Tile(level, (self.size >> above) - 1, b"".join(hashes))
            root = root_of(hashes)
            hashes.clear()
            yield from self._add(level + 1, root)


def split(packed: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES)]


def subtree_root(start: int, end: int, node: NodeReader) -> bytes:
    """The root over the leaves start..end-1, where `start` is a multiple of a power of two not below the length."""
    length = end - start
    if length == 0:
        return EMPTY_ROOT
    level = length.bit_length() - 1
    if length == 1 << level:
        return node(level, start >> level)
    middle = start + (1 << level)
    return node_hash(node(level, start >> level), subtree_root(middle, end, node))


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """The audit path of a leaf (RFC 6962, 2.1.1), from the leaf upwards. Raises ValueError outside the tree."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return _path(index, 0, size, node)


def _path(index: int, start: int, end: int, node: NodeReader) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _largest_power_below(end - start)
    if index < middle:
        return [*_path(index, start, middle, node), subtree_root(middle, end, node)]
    return [*_path(index, middle, end, node), subtree_root(start, middle, node)]


def consistency_proof(first: int, second: int, node: NodeReader) -> list[bytes]:
    """That a tree of `first` leaves is the beginning of one of `second` (RFC 6962, 2.1.2). Raises ValueError."""
    if not 0 < first <= second:
        raise ValueError(f"no proof leads from {first} leaves to {second}")
    return _subproof(first, 0, second, True, node)


def _subproof(first: int, start: int, end: int, whole: bool, node: NodeReader) -> list[bytes]:
    if first == end - start:
        return [] if whole else [subtree_root(start, end, node)]
    half = _largest_power_below(end - start)
    if first <= half:
        return [*_subproof(first, start, start + half, whole, node), subtree_root(start + half, end, node)]
    proof = _subproof(first - half, start + half, end, False, node)
    return [*proof, subtree_root(start, start + half, node)]


def root_from_inclusion(index: int, size: int, hashed: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that the proof leads to (RFC 9162, 2.1.3.2). Raises ValueError when it does not fit the positions."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    place, last, root = index, size - 1, hashed
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if place & 1 or place == last:
            root = node_hash(sibling, root)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return root


def roots_from_consistency(first: int, second: int, first_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots of both trees that the proof leads to (RFC 9162, 2.1.4.2). Raises ValueError when it does not fit."""
    if not 0 < first <= second:
        raise ValueError(f"no proof leads from {first} leaves to {second}")
    if first == second:
        if proof:
            raise ValueError("the proof is too long")
        return first_root, first_root
    rest = list(proof)
    if first & (first - 1) == 0:
        rest.insert(0, first_root)
    if not rest:
        raise ValueError("the proof is too short")
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = rest[0]
    for hashed in rest[1:]:
        if last == 0:
            raise ValueError("the proof is too long")
        if place & 1 or place == last:
            old, new = node_hash(hashed, old), node_hash(hashed, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, hashed)
        place, last = place >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return old, new


def _largest_power_below(length: int) -> int:
    """The largest power of two smaller than `length`, which is at least 2."""
    return 1 << ((length - 1).bit_length() - 1)
