"""The Merkle tree, against the definition in RFC 6962 and the test vectors of its reference implementation."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.tree import (
    EMPTY_ROOT,
    GrowingTree,
    Tile,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    root_of,
    roots_from_consistency,
    split,
    subtree_root,
)

# The leaves and roots that Certificate Transparency's reference implementation publishes.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [leaf_hash(data) for data in VECTOR_LEAVES]
VECTOR_PATHS = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
VECTOR_CONSISTENCY = {
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def defined_root(hashes: list[bytes]) -> bytes:
    """As section 2.1 writes it down."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else hashlib.sha256().digest()
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return node_hash(defined_root(hashes[:half]), defined_root(hashes[half:]))


def node_reader(hashes: list[bytes]):  # type: ignore[no-untyped-def]
    def node(level: int, index: int) -> bytes:
        part = hashes[index << level : (index + 1) << level]
        assert len(part) == 1 << level
        return defined_root(part)

    return node


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_are_reproduced(size: int) -> None:
    tree = GrowingTree()
    list(tree.append(HASHES[:size]))
    assert tree.root().hex() == root_of(HASHES[:size]).hex() == VECTOR_ROOTS[size - 1]


def test_the_published_proofs_are_reproduced() -> None:
    for (index, size), path in VECTOR_PATHS.items():
        assert [hashed.hex() for hashed in inclusion_proof(index, size, node_reader(HASHES))] == path
    for (first, second), path in VECTOR_CONSISTENCY.items():
        assert [hashed.hex() for hashed in consistency_proof(first, second, node_reader(HASHES))] == path


def test_a_tree_of_nothing_has_the_hash_of_nothing() -> None:
    assert GrowingTree().root() == EMPTY_ROOT == root_of([]) == defined_root([])


@given(st.integers(1, 1_500), st.lists(st.integers(0, 1_500), max_size=4))
def test_a_tree_grown_in_pieces_is_the_tree_of_the_whole(size: int, cuts: list[int]) -> None:
    hashes = [leaf_hash(str(n).encode()) for n in range(size)]
    tree, tiles = GrowingTree(), list[Tile]()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), size], strict=True):
        tiles += tree.append(hashes[start:end])
    assert tree.size == size and tree.root() == defined_root(hashes)
    for tile in tiles:
        width = 256**tile.level
        parts = [
            defined_root(hashes[start : start + width])
            for start in range(tile.index * width * 256, (tile.index + 1) * width * 256, width)
        ]
        assert split(tile.hashes) == parts
    assert len([tile for tile in tiles if tile.level == 0]) == size // 256


def test_higher_tiles_hold_the_roots_of_lower_ones() -> None:
    tree, tiles = GrowingTree(), list[Tile]()
    hashes = [leaf_hash(str(n).encode()) for n in range(256 * 256 + 3)]
    tiles += tree.append(hashes)
    above = next(tile for tile in tiles if tile.level == 1)
    below = [tile for tile in tiles if tile.level == 0]
    assert above.index == 0 and split(above.hashes) == [root_of(split(tile.hashes)) for tile in below]
    assert tree.root() == defined_root(hashes)


@given(st.integers(1, 300), st.data())
def test_a_proof_of_inclusion_leads_to_the_root_and_no_other_does(size: int, data: st.DataObject) -> None:
    hashes = [leaf_hash(str(n).encode()) for n in range(size)]
    node, root = node_reader(hashes), defined_root(hashes)
    assert subtree_root(0, size, node) == root
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, node)
    assert root_from_inclusion(index, size, hashes[index], proof) == root
    assert root_from_inclusion(index, size, leaf_hash(b"another"), proof) != root
    for wrong in (proof[:-1], [*proof, root]) if proof else ([root],):
        with pytest.raises(ValueError, match="too"):
            root_from_inclusion(index, size, hashes[index], wrong)
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(size, size, node)


@given(st.integers(1, 300), st.data())
def test_a_proof_of_consistency_leads_to_both_roots(second: int, data: st.DataObject) -> None:
    hashes = [leaf_hash(str(n).encode()) for n in range(second)]
    first = data.draw(st.integers(1, second))
    node, old, new = node_reader(hashes), defined_root(hashes[:first]), defined_root(hashes)
    proof = consistency_proof(first, second, node)
    assert roots_from_consistency(first, second, old, proof) == (old, new)
    if proof:
        forged = [leaf_hash(b"another"), *proof[1:]]
        assert roots_from_consistency(first, second, old, forged) != (old, new)
        with pytest.raises(ValueError, match="too"):
            roots_from_consistency(first, second, old, [*proof, new])
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(second + 1, second, node)
