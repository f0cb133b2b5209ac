"""The verifier over made logs: any single change is found, with the right name, at the right place.

Logs are made with what seals the audit, and checked with the verifier, which shares no code with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.audit import keys, verifier
from appliance.audit.notes import Checkpoint, PrivateKey
from appliance.audit.tree import TILE_WIDTH, GrowingTree, leaf_hash, root_of
from appliance.audit.verifier import Check, Report, Row

KEY = PrivateKey("reading-room/test", bytes(range(32)))
STRANGER = PrivateKey("reading-room/test", bytes(range(1, 33)))


@dataclass(frozen=True)
class Log:
    """What is stored of a log: rows, tiles where there are any, notes of heads, statements of keys."""

    rows: list[Row]
    notes: list[str]
    tiles: dict[tuple[int, int], bytes] | None
    statements: list[str] = field(default_factory=list)

    def verify(self, *, outside: dict[str, str] | None = None, key: str = "", batch: int = 4_096) -> Report:
        report = Report()
        known = verifier.follow_keys(self.statements, key, report)
        heads = [head for note in self.notes if (head := verifier.read_head(note, known, report))]
        heads += verifier.outside_heads(outside or {}, known, report)
        tiles = None if self.tiles is None else lambda level, index: self.tiles.get((level, index))  # type: ignore[union-attr]
        batches = [self.rows[i : i + batch] for i in range(0, len(self.rows), batch)]
        verifier.check_rows(batches, Check(heads, report, tiles))
        return report

    def found(self, **how: object) -> list[tuple[str, int, int | None]]:
        return [(each.code, each.position, each.end) for each in self.verify(**how).findings]  # type: ignore[arg-type]


def event(number: int) -> bytes:
    return f'{{"id":"{number}"}}'.encode()


def note_at(hashes: Sequence[bytes], size: int, key: PrivateKey = KEY) -> str:
    return Checkpoint(key.name, size, root_of(hashes[:size]), (f"time {size}",)).signed(key)


def make(size: int, heads: Sequence[int], *, tiled: bool, tag: str = "") -> Log:
    data = [event(number) + tag.encode() for number in range(size)]
    hashes = [leaf_hash(each) for each in data]
    tree = GrowingTree()
    tiles = {(tile.level, tile.index): tile.hashes for tile in tree.append(hashes)}
    statements = [keys.statement(KEY.name, KEY.public, 0, KEY)]
    rows = [(number, each, hashed) for number, (each, hashed) in enumerate(zip(data, hashes, strict=True))]
    notes = [note_at(hashes, head) for head in heads]
    return Log(rows, notes, tiles if tiled else None, statements)


@st.composite
def logs(draw: st.DrawFn) -> tuple[Log, list[int]]:
    size = draw(st.one_of(st.integers(2, 40), st.integers(250, 262), st.integers(500, 800)))
    heads = sorted({*draw(st.lists(st.integers(1, size), max_size=6)), size})
    return make(size, heads, tiled=draw(st.booleans())), heads


def around(heads: Sequence[int], index: int) -> tuple[int, int]:
    """The last head that does not hold the leaf yet, and the first that does."""
    return max([0, *(head for head in heads if head <= index)]), min(head for head in heads if head > index)


def exact(log: Log, index: int) -> bool:
    """Whether a tile tells what the leaf was."""
    return log.tiles is not None and index < len(log.rows) // TILE_WIDTH * TILE_WIDTH


def changed(log: Log, index: int, row: Row) -> Log:
    return replace(log, rows=[*log.rows[:index], row, *log.rows[index + 1 :]])


@given(logs())
@settings(max_examples=60, deadline=None)
def test_a_log_as_it_was_sealed_is_sound(made: tuple[Log, list[int]]) -> None:
    log, heads = made
    report = log.verify(key=str(KEY.public), batch=100)
    assert report.sound and report.checked == report.size == len(log.rows) and report.checkpoints == len(heads)
    assert report.root == root_of([row[2] for row in log.rows if row[2]]).hex()
    assert report.verified_until == str(len(log.rows))


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_an_edited_event_is_named(made: tuple[Log, list[int]], data: st.DataObject) -> None:
    log, heads = made
    index = data.draw(st.integers(0, len(log.rows) - 1))
    place = data.draw(st.integers(0, 4))
    _, old, stored = log.rows[index]
    assert old is not None
    new = old[:place] + bytes((old[place] ^ 1,)) + old[place + 1 :]
    assert changed(log, index, (index, new, stored)).found() == [("event_edited", index, None)]
    wrong = changed(log, index, (index, old, leaf_hash(new))).found()
    assert wrong == [("fingerprint_edited", index, None)]
    both = changed(log, index, (index, new, leaf_hash(new))).found()
    if exact(log, index):
        assert both == [("event_replaced", index, None)]
    else:
        assert both == [("root_differs", *around(heads, index))]


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_deleted_event_or_leaf_is_named(made: tuple[Log, list[int]], data: st.DataObject) -> None:
    log, _ = made
    index = data.draw(st.integers(0, len(log.rows) - 1))
    assert changed(log, index, (index, None, None)).found() == [("event_deleted", index, None)]
    gone = replace(log, rows=log.rows[:index] + log.rows[index + 1 :])
    if index == len(log.rows) - 1:
        assert gone.found() == [("tail_missing", index, index + 1)]
    else:
        assert gone.found() == [("leaf_deleted", index, None)]


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_swapped_events_are_named(made: tuple[Log, list[int]], data: st.DataObject) -> None:
    log, heads = made
    first = data.draw(st.integers(0, len(log.rows) - 2))
    second = data.draw(st.integers(first + 1, len(log.rows) - 1))
    one, other = log.rows[first], log.rows[second]
    rows = list(log.rows)
    rows[first], rows[second] = (first, *other[1:]), (second, *one[1:])
    found = replace(log, rows=rows).found()
    if exact(log, second):
        assert found == [("events_swapped", first, None), ("events_swapped", second, None)]
    elif exact(log, first):
        assert ("event_replaced", first, None) in found and "root_differs" in {code for code, _, _ in found}
    else:
        assert found == [("root_differs", *around(heads, first))]
    rows[first], rows[second] = other, one  # with their numbers: out of order
    moved = replace(log, rows=rows).found()
    assert moved and {code for code, _, _ in moved} == {"events_swapped"} and moved[0][1] == first


@given(logs(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_renumbered_log_with_one_event_less_or_more_is_named(
    made: tuple[Log, list[int]], data: st.DataObject
) -> None:
    log, heads = made
    size = len(log.rows)
    index = data.draw(st.integers(0, size - 1))
    bodies = [row[1:] for row in log.rows]
    less = [*bodies[:index], *bodies[index + 1 :]]
    found = replace(log, rows=[(number, *body) for number, body in enumerate(less)]).found()
    assert ("tail_missing", size - 1, size) in found
    assert all(position >= around(heads, index)[0] for _, position, _ in found)
    if exact(log, index + 3) and index // TILE_WIDTH == (index + 3) // TILE_WIDTH:
        assert ("event_deleted", index) in {each[:2] for each in found}
    new = event(-1)
    more = [*bodies[:index], (new, leaf_hash(new)), *bodies[index:]]
    found = replace(log, rows=[(number, *body) for number, body in enumerate(more)]).found()
    assert ("leaves_unsigned", size, size + 1) in found
    if size + 1 < TILE_WIDTH or log.tiles is None:
        assert found[0][1] == around([*heads, size + 1], index)[0]


@given(logs(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_wrong_checkpoint_is_named(made: tuple[Log, list[int]], data: st.DataObject) -> None:
    log, heads = made
    number = data.draw(st.integers(0, len(heads) - 1))
    size = heads[number]
    good = log.notes[number]
    unsigned = replace(
        log, notes=[*log.notes[:number], good.replace(f"time {size}", "time 1000"), *log.notes[number + 1 :]]
    )
    assert ("signature_wrong", size, None) in unsigned.found()
    other = note_at([leaf_hash(b"other")] * size, size)
    forked = replace(log, notes=[*log.notes[:number], other, *log.notes[number + 1 :]]).found()
    before = max([0, *(head for head in heads if head < size)])
    assert forked == [("history_forked" if size < len(log.rows) else "root_differs", before, size)]
    strange = note_at([leaf_hash(event(i)) for i in range(size)], size, STRANGER)
    found = replace(log, notes=[*log.notes[:number], strange, *log.notes[number + 1 :]]).found()
    assert ("key_unknown", size, None) in found


@given(logs(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_checkpoint_from_outside_shows_a_cut_or_forked_log(made: tuple[Log, list[int]], data: st.DataObject) -> None:
    log, _ = made
    size = len(log.rows)
    outside = {"usb": log.notes[-1]}
    assert log.found(outside=outside) == []
    cut = data.draw(st.integers(1, size - 1))
    older = make(cut, [cut], tiled=log.tiles is not None)
    assert older.found() == []
    assert older.found(outside=outside) == [("older_than_checkpoint", cut, size)]
    again = make(size + cut, [cut, size + cut], tiled=log.tiles is not None, tag="rewritten")
    assert again.found() == []
    ((code, position, end),) = again.found(outside=outside)
    assert (code, end) == ("history_forked", size) and position <= size


def test_rows_out_of_order_are_found_at_the_edge_of_a_block_and_far_away() -> None:
    log = make(9_000, [9_000], tiled=False)
    for first, second in ((255, 256), (3, 700), (10, 8_000)):
        rows = list(log.rows)
        rows[first], rows[second] = rows[second], rows[first]
        found = replace(log, rows=rows).found()
        assert found[0] == ("events_swapped", first, None) and {code for code, _, _ in found} == {"events_swapped"}
    twice = replace(log, rows=[*log.rows[:300], log.rows[299], *log.rows[300:]])
    assert twice.found() == [("event_inserted", 299, None)]
    far = replace(log, rows=[*log.rows, (10**12, event(0), leaf_hash(event(0)))])
    assert far.found() == [("event_inserted", 10**12, None)]


def test_a_damaged_tile_is_told_from_a_changed_event() -> None:
    log = make(700, [300, 650, 700], tiled=True)
    assert log.tiles is not None
    tile = bytearray(log.tiles[0, 1])
    tile[32 * 5] ^= 1
    assert replace(log, tiles=log.tiles | {(0, 1): bytes(tile)}).found() == [("tile_damaged", 256 + 5, None)]
    without = {place: hashes for place, hashes in log.tiles.items() if place != (0, 0)}
    assert replace(log, tiles=without).found() == [("tile_damaged", 0, 256)]
    _, data, _ = log.rows[260]
    assert data is not None
    new = data + b" "
    forged = bytearray(log.tiles[0, 1])
    forged[32 * 4 : 32 * 5] = leaf_hash(new)
    whole = replace(changed(log, 260, (260, new, leaf_hash(new))), tiles=log.tiles | {(0, 1): bytes(forged)})
    assert whole.found() == [("root_differs", 0, 300)]


def test_keys_are_followed_from_the_first_one() -> None:
    log = make(20, [10], tiled=False)
    hashes = [row[2] for row in log.rows if row[2]]
    rotated = replace(
        log,
        notes=[*log.notes, note_at(hashes, 20, STRANGER)],
        statements=[*log.statements, keys.statement(KEY.name, STRANGER.public, 10, KEY, STRANGER)],
    )
    assert rotated.found(key=str(KEY.public)) == []
    assert log.found(key=str(STRANGER.public))[0] == ("key_unknown", 0, None)
    early = replace(rotated, notes=[note_at(hashes, 5, STRANGER), rotated.notes[-1]])
    assert ("key_unknown", 5, None) in early.found()
    forged = [log.statements[0], keys.statement(KEY.name, STRANGER.public, 10, STRANGER)]
    assert ("key_chain_broken", 0, None) in replace(rotated, statements=forged).found()
    with pytest.raises(verifier.CannotRun, match="--key"):
        log.found(key="no key")


def test_what_no_checkpoint_covers_is_said() -> None:
    log = make(10, [7], tiled=False)
    assert log.found() == [("leaves_unsigned", 7, 10)]
    assert replace(log, notes=[]).found() == [("leaves_unsigned", 0, 10)]
    other = Checkpoint("reading-room/other", 7, bytes(32)).signed(KEY)
    assert ("other_log", 7, None) in replace(log, notes=[other]).found()
    assert ("checkpoint_unreadable", 0, None) in replace(log, notes=["what?"]).found()


def test_checkpoints_are_read_from_every_form_they_leave_in() -> None:
    import base64

    log = make(10, [3, 10], tiled=False)
    day_file = "\n".join(log.notes)
    packed = base64.b64encode(log.notes[1].encode()).decode()
    syslog = f'Nov 20 22:00:00 room reading-room[7]: [checkpoint@32473 size="10" note="{packed}"] ten\n'
    assert verifier.notes_in(log.notes[0]) == log.notes[:1]
    assert verifier.notes_in(day_file) == verifier.notes_in(day_file.replace("\n", "\r\n")) == log.notes
    assert verifier.notes_in(syslog) == log.notes[1:]
    with pytest.raises(verifier.CannotRun, match="notes.txt holds no checkpoint"):
        log.found(outside={"notes.txt": "nothing"})
