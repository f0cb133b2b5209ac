#!/usr/bin/env python3
"""Checks a Reading Room audit export on any machine: python verify_audit.py EXPORT.zip [--key VKEY] [--checkpoint FILE]

One file, with nothing but Python (3.11 or later) and its `cryptography` package. It shares no line with what seals the
audit: a mistake there cannot hide itself here. The appliance checks its own database with the same functions.

What is checked. Events are the leaves of a Merkle tree (RFC 6962); signed checkpoints (C2SP tlog-checkpoint, Ed25519)
name its size and root. Three things say what leaf i was: the event's bytes, the fingerprint stored beside them, and,
in the database, the tree's tiles. Where they differ, the one that leads to a signed root is right, and the others
were changed. Where nothing leads to a signed root, the change lies after the last checkpoint that still holds.

Exit status: 0 sound, 1 damage found, 2 could not run.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

WIDTH = 256
_MOST_FINDINGS = 1_000
_MOST_PENDING = 100_000
_LOOK_AHEAD = 4_096
_LONGEST_LINE = 64 * 1024 * 1024
_MOST_KEYS_BYTES = 16 * 1024 * 1024

#: A leaf: its index, its event's bytes (None: the event is gone), the fingerprint stored with it (None: not known).
Row = tuple[int, bytes | None, bytes | None]
#: (level, index) -> the 8192 bytes of a full tile, None where it is missing.
TileReader = Callable[[int, int], bytes | None]


class CannotRun(Exception):
    """There is nothing to check, or not in a form that is known. The message says which."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was sealed. `position` is the first leaf it may concern, `end` the one after."""

    code: str
    position: int
    message: str
    end: int | None = None

    def as_dict(self) -> dict[str, object]:
        found: dict[str, object] = {"code": self.code, "position": self.position, "message": self.message}
        return found if self.end is None else found | {"end": self.end}


@dataclass
class Report:
    """What was checked and found. `verified_until` is the time in the newest checkpoint that holds."""

    size: int = 0
    root: str = ""
    checked: int = 0
    unsealed: int = 0
    checkpoints: int = 0
    verified_until: str | None = None
    key: str = ""
    key_is_given: bool = False
    findings: list[Finding] = field(default_factory=list)
    more: int = 0

    @property
    def sound(self) -> bool:
        return not self.findings

    def add(self, code: str, position: int, message: str, end: int | None = None) -> None:
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(code, position, message, end))
        else:
            self.more += 1

    def as_dict(self) -> dict[str, object]:
        """As --json prints it."""
        return {
            "sound": self.sound,
            "size": self.size,
            "root": self.root,
            "checked": self.checked,
            "unsealed": self.unsealed,
            "checkpoints": self.checkpoints,
            "verified_until": self.verified_until,
            "key": self.key,
            "key_is_given": self.key_is_given,
            "findings": [each.as_dict() for each in self.findings],
            "more": self.more,
        }


# Notes and keys ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """An Ed25519 key that signs heads of `since` leaves and more."""

    name: str
    raw: bytes
    since: int = 0

    @classmethod
    def parse(cls, text: str, since: int = 0) -> Key:
        """From name+hash+base64. Raises ValueError."""
        name, hashed, packed = text.strip().split("+", 2)
        raw = base64.b64decode(packed, validate=True)
        key = cls(name, raw[1:], since)
        if len(raw) != 33 or raw[0] != 1 or key.hash.hex() != hashed:
            raise ValueError("not a public key")
        return key

    @property
    def hash(self) -> bytes:
        return sha256(self.name.encode() + b"\n\x01" + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{base64.b64encode(bytes((1,)) + self.raw).decode()}"

    def signed(self, note: Note) -> bool:
        return any(_is_signed(self.raw, note.text, made) for name, made in note.signatures if self._made(name, made))

    def claims(self, note: Note) -> bool:
        """Whether a line below the note says that it is this key's."""
        return any(self._made(name, made) for name, made in note.signatures)

    def _made(self, name: str, made: bytes) -> bool:
        return name == self.name and made[:4] == self.hash


@dataclass(frozen=True)
class Note:
    """A text, and below it who signed: name, and the four bytes of the key's hash with the signature."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, whole: str) -> Note:
        """Raises ValueError."""
        text, gap, below = whole.rpartition("\n\n")
        found = []
        for line in below.removesuffix("\n").split("\n"):
            dash, name, packed = line.split(" ")
            if dash != "—":
                raise ValueError("not a signature")
            found.append((name, base64.b64decode(packed, validate=True)))
        if not gap or not found:
            raise ValueError("not a signed note")
        return cls(text + "\n", tuple(found))


@dataclass(frozen=True)
class Head:
    """A signed size and root, where it comes from ("" for the log itself), and the time it names."""

    size: int
    root: bytes
    time: str | None = None
    source: str = ""


def _is_signed(key: bytes, text: str, made: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(made[4:], text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def follow_keys(statements: Sequence[str], given: str, report: Report) -> list[Key]:
    """The keys that the statements name, each signed by the one before it. `given` is the first, from outside."""
    trusted: Key | None = None
    if given:
        try:
            trusted = Key.parse(given)
        except (ValueError, binascii.Error):
            raise CannotRun("--key is not a public key: name+hash+base64 was expected") from None
        report.key_is_given = True
    keys: list[Key] = []
    for number, text in enumerate(statements):
        try:
            note = Note.parse(text)
            origin, word, named, since = note.text.removesuffix("\n").split("\n")
            key = Key.parse(named, int(since))
        except ValueError:
            report.add("key_chain_broken", 0, f"statement {number} about a key cannot be read")
            break
        before = keys[-1] if keys else key
        if number == 0 and trusted is not None and (trusted.name, trusted.raw) != (key.name, key.raw):
            report.add("key_unknown", 0, f"the log begins with the key {key}, which is not the one given")
            keys.append(trusted)
            break
        in_order = key.since == 0 if number == 0 else key.since >= before.since
        first = keys[0].name if keys else key.name
        if origin != first or word != "key" or not before.signed(note) or not key.signed(note) or not in_order:
            report.add(
                "key_chain_broken",
                before.since,
                f"statement {number} does not follow: it must be signed by the key before it and by its own",
            )
            break
        keys.append(key)
    if not keys and trusted is not None:
        keys.append(trusted)
        if not statements:
            report.add("key_chain_broken", 0, "the log names no key, not even the one given")
    report.key = str(keys[0]) if keys else ""
    return keys


def read_head(text: str, keys: Sequence[Key], report: Report, source: str = "") -> Head | None:
    """A checkpoint whose signature holds. None, with a finding, for any other."""
    where = f"the checkpoint from {source}" if source else "a checkpoint of the log"
    try:
        note = Note.parse(text)
        origin, size_text, root_text, *extra = note.text.removesuffix("\n").split("\n")
        size, root = int(size_text), base64.b64decode(root_text, validate=True)
        if len(root) != 32 or size < 0 or str(size) != size_text:
            raise ValueError("not a checkpoint")
    except ValueError:
        report.add("checkpoint_unreadable", 0, f"{where} cannot be read as a signed checkpoint")
        return None
    if not keys:
        report.add("key_unknown", size, f"no key is known that could have signed {where} at {size:,}")
        return None
    claiming = [number for number, key in enumerate(keys) if key.claims(note)]
    if origin != keys[0].name:
        report.add("other_log", size, f"{where} at {size:,} is of another log: {origin}")
    elif not claiming:
        report.add("key_unknown", size, f"{where} at {size:,} is signed by a key that this log does not know")
    elif not any(keys[number].signed(note) for number in claiming):
        report.add("signature_wrong", size, f"the signature below {where} at {size:,} is wrong")
    elif not any(_may_sign(keys, number, size) and keys[number].signed(note) for number in claiming):
        report.add("key_unknown", size, f"{where} at {size:,} is signed by a key that was not in use then")
    else:
        times = (line.partition(" ")[2] for line in extra if line.startswith("time "))
        return Head(size, root, next(times, None), source)
    return None


def _may_sign(keys: Sequence[Key], number: int, size: int) -> bool:
    last = number + 1 == len(keys) or size <= keys[number + 1].since
    return keys[number].since <= size and last


_NOTES = re.compile(r"(?:^|(?<=\n))[^\n—]+\n[0-9]+\n[A-Za-z0-9+/]{43}=\n(?:[^\n—]+\n)*\n(?:— [^\n]+\n)+")
_IN_SYSLOG = re.compile(r'note="([A-Za-z0-9+/]+=*)"')


def notes_in(text: str) -> list[str]:
    """The checkpoints in a file: one note, many, or lines that syslog received."""
    packed = [base64.b64decode(each).decode("utf-8", "replace") for each in _IN_SYSLOG.findall(text)]
    return packed or _NOTES.findall(text.replace("\r\n", "\n").rstrip("\n") + "\n")


# The tree ---------------------------------------------------------------------------------------------------


class Tree:
    """Roots of perfect subtrees, the largest first: enough to add leaves and to know the root."""

    def __init__(self, size: int = 0, parts: Sequence[bytes] = ()) -> None:
        self.size = size
        self.parts = list(parts)

    def copy(self) -> Tree:
        return Tree(self.size, self.parts)

    def add(self, hashed: bytes, *, leaves: int = 1) -> None:
        """A leaf, or the root of as many leaves as a full tile has."""
        place = self.size // leaves
        while place & 1:
            hashed = sha256(b"\x01" + self.parts.pop() + hashed).digest()
            place >>= 1
        self.parts.append(hashed)
        self.size += leaves

    def root(self) -> bytes:
        if not self.parts:
            return sha256(b"").digest()
        found = self.parts[-1]
        for part in reversed(self.parts[:-1]):
            found = sha256(b"\x01" + part + found).digest()
        return found


def root_of_tile(hashes: Sequence[bytes]) -> bytes:
    """The root of 256 hashes."""
    level = hashes
    while len(level) > 1:
        level = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


@dataclass
class _Doubt:
    """A leaf of which not all that is stored agrees; which of it is right, the next root that holds decides."""

    index: int
    of_bytes: bytes | None  # hash of the event's bytes; None: no event
    stored: bytes | None
    tile: bytes | None
    kept: bytes  # what is taken for sealed
    is_missing: bool = False  # there is no leaf at all
    events_are_right: bool = False  # a root holds for the events' bytes, and not for what is kept beside them


class Check:
    """Goes through the leaves in order, and looks at every head on its way."""

    def __init__(self, heads: Iterable[Head], report: Report, tiles: TileReader | None = None) -> None:
        self.heads = sorted(heads, key=lambda head: head.size)
        self.report = report
        self.tiles = tiles
        self.kept = Tree()  # over what seems to have been sealed
        self.given = self.kept  # over the events' own bytes; another tree once they differ
        self.doubts: list[_Doubt] = []
        self.decided: list[_Doubt] = []
        self.good = 0  # size of the last head that holds
        self.broken_at: int | None = None  # a leaf that nothing tells the hash of
        self.failed: list[Head] = []
        self._next_head = 0
        self._above: list[list[bytes]] = []
        self._pass_heads()

    @property
    def size(self) -> int:
        return self.kept.size

    def block(self, rows: Sequence[Row | None]) -> None:
        """The next leaves, 256 of them unless they are the last; None where there is no leaf."""
        start, count = self.size, len(rows)
        tile = self._tile(0, start // WIDTH, is_due=count == WIDTH)
        if self.given is self.kept and self.broken_at is None:
            try:
                hashes = [sha256(b"\x00" + row[1]).digest() for row in rows]  # type: ignore[operator, index]
                as_stored = hashes == [row[2] for row in rows]  # type: ignore[index]
            except TypeError:  # a leaf or an event is not there
                as_stored = False
            if as_stored and (tile is None or tile[: 32 * count] == b"".join(hashes)):
                self.report.checked += count
                self._add_plain(hashes)
                return
        self._add_doubtful(start, rows, tile)

    def end(self) -> None:
        """After the last leaf: what the heads say that is not there."""
        self._settle(self.size, None)
        self._name_doubts()
        newest = {head.source: head for head in self.heads[self._next_head :]}  # by size: the last one stays
        for source, head in newest.items():
            there = f"{self.size:,} are there"
            if source:
                message = (
                    f"the checkpoint from {source} has {head.size:,} events, and {there}: cut off, or an older copy"
                )
                self.report.add("older_than_checkpoint", self.size, message, head.size)
            else:
                self.report.add("tail_missing", self.size, f"{head.size:,} events were sealed, and {there}", head.size)
        covered = self.heads[-1].size if self.heads else 0
        if self.size > covered:
            message = f"no checkpoint that holds covers the leaves from {covered:,} to {self.size - 1:,}"
            self.report.add("leaves_unsigned", covered, message, self.size)
        self.report.findings.sort(key=lambda finding: finding.position)
        self.report.size, self.report.root = self.size, self.kept.root().hex()

    def _add_plain(self, hashes: Sequence[bytes]) -> None:
        end = self.size + len(hashes)
        if len(hashes) == WIDTH and not self._is_head_before(end):
            root = root_of_tile(hashes)
            self.kept.add(root, leaves=WIDTH)
            self._full(root)
            self._pass_heads()
            return
        for hashed in hashes:
            self.kept.add(hashed)
            self._pass_heads()
        if len(hashes) == WIDTH:
            self._full(root_of_tile(hashes))

    def _is_head_before(self, end: int) -> bool:
        return self._next_head < len(self.heads) and self.heads[self._next_head].size < end

    def _add_doubtful(self, start: int, rows: Sequence[Row | None], tile: bytes | None) -> None:
        kept_hashes = []
        for number, row in enumerate(rows):
            index = start + number
            in_tile = tile[32 * number : 32 * number + 32] if tile else None
            self.report.checked += row is not None and row[1] is not None
            of_bytes = sha256(b"\x00" + row[1]).digest() if row is not None and row[1] is not None else None
            stored = row[2] if row is not None and row[2] is not None and len(row[2]) == 32 else None
            kept = in_tile or stored or of_bytes
            if kept is None:
                self.broken_at = index if self.broken_at is None else self.broken_at
                kept = bytes(32)
            differ = {each for each in (of_bytes, stored, in_tile) if each is not None} != {kept}
            if row is None or of_bytes is None or differ or (row[2] is not None and stored is None):
                self._doubt(_Doubt(index, of_bytes, stored, in_tile, kept, row is None))
            if self.given is self.kept and of_bytes not in (None, kept):
                self.given = self.kept.copy()
            self.kept.add(kept)
            if self.given is not self.kept:
                self.given.add(of_bytes or kept)
            kept_hashes.append(kept)
            self._pass_heads()
        if len(rows) == WIDTH:
            self._full(root_of_tile(kept_hashes))

    def _doubt(self, doubt: _Doubt) -> None:
        if len(self.doubts) + len(self.decided) < _MOST_PENDING:
            self.doubts.append(doubt)
        else:
            self.report.more += 1

    def _pass_heads(self) -> None:
        while self._next_head < len(self.heads) and self.heads[self._next_head].size == self.size:
            self._pass(self.heads[self._next_head])
            self._next_head += 1

    def _pass(self, head: Head) -> None:
        self.report.checkpoints += 1
        trees = () if self.broken_at is not None else (self.kept, self.given)
        right = next((tree for tree in trees if tree.root() == head.root), None)
        if right is None:
            self.failed.append(head)
            return
        self._settle(head.size, right)
        self.good = head.size
        self.report.verified_until = head.time or self.report.verified_until

    def _settle(self, size: int, right: Tree | None) -> None:
        """Names what differs up to `size`; `right` is the tree that a head holds for, None when none does."""
        if right is not None:
            forged = self.failed
        else:
            forged = [head for head in self.failed if head.size <= self.good]
            self._name_failed([head for head in self.failed if head.size > self.good])
        for head in forged:
            what = f"the checkpoint from {head.source}" if head.source else "a signed checkpoint"
            message = f"{what} at {head.size:,} is of another history than this log"
            self.report.add("history_forked", min(self.good, head.size), message, head.size)
        for doubt in self.doubts:
            doubt.events_are_right = right is self.given and right is not self.kept
        self.decided += self.doubts
        if right is not None:
            self.kept = self.given = right
        self.failed, self.doubts = [], []

    def _name_failed(self, failed: Sequence[Head]) -> None:
        if not failed or self.broken_at is not None:  # then what is missing is named, and no root follows without it
            return
        first = failed[0]
        source = f" from {first.source}" if first.source else ""
        self.report.add(
            "history_forked" if all(head.source for head in failed) else "root_differs",
            self.good,
            f"something between leaf {self.good:,} and leaf {first.size - 1:,} is not what was signed: "
            f"the checkpoint{source} at {first.size:,} does not hold",
            first.size,
        )

    def _name_doubts(self) -> None:
        doubts, number = self.decided, 0
        sealed = {doubt.kept: doubt.index for doubt in doubts}
        while number < len(doubts):
            shifted = self._shift(doubts, number)
            if abs(shifted) > 1:
                first, last = doubts[number].index, doubts[number + abs(shifted) - 1].index
                what = ("event_deleted", "is gone") if shifted > 0 else ("event_inserted", "was put in")
                message = f"an event {what[1]} at leaf {first:,}, and those behind it moved"
                self.report.add(what[0], first, message, last + 1)
                number += abs(shifted)
                continue
            code, message = self._named(doubts[number], sealed)
            self.report.add(code, doubts[number].index, f"leaf {doubts[number].index:,}: {message}")
            number += 1

    @staticmethod
    def _shift(doubts: Sequence[_Doubt], first: int) -> int:
        """How many leaves from here on hold a neighbour's event: above zero the next one's, below the last one's."""
        ahead = behind = first
        while ahead + 1 < len(doubts) and doubts[ahead].of_bytes == doubts[ahead + 1].kept != doubts[ahead].kept:
            ahead += 1
        while (
            behind + 1 < len(doubts) and doubts[behind + 1].of_bytes == doubts[behind].kept != doubts[behind].of_bytes
        ):
            behind += 1
        if ahead - first > 1:
            return ahead - first + 1
        return -(behind - first + 1) if behind - first > 1 else 0

    @staticmethod
    def _named(doubt: _Doubt, sealed: Mapping[bytes, int]) -> tuple[str, str]:
        if doubt.is_missing:
            return "leaf_deleted", "there is no leaf here"
        if doubt.of_bytes is None:
            return "event_deleted", "its event is gone"
        if doubt.events_are_right or doubt.of_bytes == doubt.kept:
            if doubt.stored != doubt.of_bytes:
                return "fingerprint_edited", "the fingerprint stored with the event is not the event's"
            return "tile_damaged", "the tile does not hold the event's fingerprint"
        other = sealed.get(doubt.of_bytes)
        if other is not None:
            return "events_swapped", f"it holds the event that was sealed as leaf {other:,}"
        if doubt.stored == doubt.of_bytes:
            return "event_replaced", "the event and its fingerprint were changed after they were sealed"
        return "event_edited", "the event is not what was sealed"

    def _tile(self, level: int, index: int, *, is_due: bool = True) -> bytes | None:
        if self.tiles is None:
            return None
        found = self.tiles(level, index)
        if found is not None and len(found) == 32 * WIDTH:
            return found
        if found is None and not is_due:
            return None
        start = index * WIDTH ** (level + 1)
        message = f"the tile {index:,} of level {level} is {'missing' if found is None else 'no tile'}"
        self.report.add("tile_damaged", start, message, start + WIDTH ** (level + 1))
        return None

    def _full(self, root: bytes) -> None:
        """A tile is complete; its root belongs to the tile above."""
        level = 0
        while True:
            if level == len(self._above):
                self._above.append([])
            self._above[level].append(root)
            if len(self._above[level]) < WIDTH:
                return
            hashes, self._above[level] = self._above[level], []
            leaves = WIDTH ** (level + 2)
            tile = self._tile(level + 1, self.size // leaves - 1)
            # While it is open which of two is right, the tile above cannot tell.
            if tile is not None and tile != b"".join(hashes) and not self.doubts:
                message = f"a tile of level {level + 1} does not follow from the tiles below it"
                self.report.add("tile_damaged", self.size - leaves, message, self.size)
            root = root_of_tile(hashes)
            level += 1


# Rows in order ----------------------------------------------------------------------------------------------


def check_rows(batches: Iterable[Sequence[Row]], check: Check) -> None:
    """Brings rows, which should come in the order of their index, into blocks; says where they are not in order."""
    order = _Order()
    held: dict[int, Row] = {}
    missing: set[int] = set()
    for batch in batches:
        place = 0
        while not held and len(batch) - place >= WIDTH:
            rows, start = batch[place : place + WIDTH], check.size
            if [row[0] for row in rows] != list(range(start, start + WIDTH)):
                break
            check.block(rows)
            order.last = check.size - 1
            place += WIDTH
        for row in batch[place:]:
            index = row[0]
            if index in held or (index < check.size and index not in missing):
                check.report.add("event_inserted", index, f"leaf {index:,} is there twice")
                continue
            order.saw(index)
            if index < check.size:
                missing.discard(index)
                order.too_late.add(index)
            else:
                held[index] = row
        while _take_block(held, missing, check, is_over=False):
            pass
    while _take_block(held, missing, check, is_over=True):
        pass
    check.end()
    findings = check.report.findings
    findings[:] = [each for each in findings if each.code != "leaf_deleted" or each.position not in order.too_late]
    for index, other in order.moved.items():
        check.report.add("events_swapped", index, f"leaf {other:,} stands where leaf {index:,} was expected")
    findings.sort(key=lambda finding: finding.position)


class _Order:
    """Where rows were not in order: `moved` has the leaf that was expected, and the one that stood there."""

    def __init__(self) -> None:
        self.last = -1
        self.moved: dict[int, int] = {}
        self.too_late: set[int] = set()
        self._gaps: dict[int, int] = {}

    def saw(self, index: int) -> None:
        if index in self._gaps:
            self.moved[index] = self._gaps.pop(index)
        elif index > self.last + 1 and len(self._gaps) < _MOST_PENDING:
            self._gaps[self.last + 1] = index
        self.last = max(self.last, index)


def _take_block(held: dict[int, Row], missing: set[int], check: Check, *, is_over: bool) -> bool:
    """Hands on the next block when it is complete, or will not become so any more."""
    start = check.size
    full = all(index in held for index in range(start, start + WIDTH))
    if not held or not (full or is_over or len(held) >= _LOOK_AHEAD):
        return False
    near = [index for index in held if index - start <= _MOST_PENDING]
    if not near:
        for index in sorted(held):
            check.report.add("event_inserted", index, f"leaf {index:,} stands far behind leaf {start - 1:,}, the last")
        held.clear()
        return False
    count = min(WIDTH, max(near) + 1 - start) if is_over else WIDTH
    if not full:
        missing.update(index for index in range(start, start + count) if index not in held)
    check.block([held.pop(index, None) for index in range(start, start + count)])
    return True


# An export ----------------------------------------------------------------------------------------------------

_LINE = re.compile(rb'\{"leaf":([0-9]{1,18}),"hash":(?:null|"([0-9a-f]{64})"),"(event|bytes)":(.*)\}\n?', re.DOTALL)


def export_rows(lines: Iterable[bytes], report: Report, *, batch: int = 16 * WIDTH) -> Iterator[list[Row]]:
    """The leaves in an export's events.jsonl: an event's bytes stand there as they were sealed."""
    rows: list[Row] = []
    expected = 0
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            report.add("line_unreadable", expected, f"line {expected + 1:,} of events.jsonl holds no leaf")
            expected += 1
            continue
        index, stored, form, data = found.groups()
        rows.append((int(index), _bytes_of(form, data), bytes.fromhex(stored.decode()) if stored else None))
        expected += 1
        if len(rows) == batch:
            yield rows
            rows = []
    if rows:
        yield rows


def _bytes_of(form: bytes, data: bytes) -> bytes | None:
    if form == b"event":
        return None if data == b"null" else data
    try:
        return base64.b64decode(data.strip(b'"'), validate=True)
    except binascii.Error:
        return b""


#: What a file that is no export, or a damaged one, makes Python's own modules say.
_UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, RuntimeError)


def verify_export(path: Path, *, key: str = "", outside: Mapping[str, str] | None = None) -> Report:
    """Checks an export; `outside` holds texts with checkpoints from elsewhere, by where they are from."""
    report = Report()
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("it holds two files of one name")
            with archive.open("keys.jsonl") as stream:
                statements = list(_texts(stream.read(_MOST_KEYS_BYTES).splitlines(), "statement"))
            keys = follow_keys(statements, key, report)
            with archive.open("checkpoints.jsonl") as stream:
                notes = _texts(_lines(stream), "note")
                heads = [head for note in notes if (head := read_head(note, keys, report)) is not None]
            heads += outside_heads(outside or {}, keys, report)
            with archive.open("events.jsonl") as stream:
                check_rows(export_rows(_lines(stream), report), Check(heads, report))
    except _UNREADABLE as error:
        raise CannotRun(f"{path} cannot be read as an export: {error}") from None
    return report


def _texts(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """A text of each line; what cannot be read is an empty one, which is neither a note nor a statement."""
    for line in lines:
        try:
            yield str(json.loads(line)[name])
        except (ValueError, KeyError, TypeError, RecursionError):
            yield ""


def _lines(stream: Iterable[bytes]) -> Iterator[bytes]:
    return iter(lambda: stream.readline(_LONGEST_LINE), b"")  # type: ignore[attr-defined]


def outside_heads(outside: Mapping[str, str], keys: Sequence[Key], report: Report) -> list[Head]:
    """The checkpoints that left the appliance. Raises CannotRun for a text that holds none."""
    heads = []
    for source, text in outside.items():
        notes = notes_in(text)
        if not notes:
            raise CannotRun(f"{source} holds no checkpoint")
        found = (read_head(note, keys, report, source) for note in notes)
        heads += [head for head in found if head is not None]
    return heads


def texts_of(paths: Iterable[str]) -> dict[str, str]:
    """Files by their names. Raises CannotRun."""
    try:
        return {path: Path(path).read_text(encoding="utf-8") for path in paths}
    except (OSError, UnicodeDecodeError) as error:
        raise CannotRun(f"a checkpoint cannot be read: {error}") from None


def describe(report: Report) -> str:
    """The report for people."""
    lines = [f"{report.checked:,} of {report.size:,} sealed events read, {report.checkpoints:,} checkpoints compared."]
    if report.key and not report.key_is_given:
        lines.append(f"Signed with {report.key}. This key came with the log: compare it with the one you were given.")
    if report.unsealed:
        lines.append(f"{report.unsealed:,} newer events are not sealed yet.")
    for finding in report.findings:
        place = f"{finding.position}" if finding.end is None else f"{finding.position}-{finding.end - 1}"
        lines.append(f"{finding.code} at {place}: {finding.message}")
    if report.more:
        lines.append(f"And {report.more:,} more.")
    if report.sound:
        lines.append(f"Nothing was changed up to {report.verified_until or 'now: nothing is sealed yet'}.")
    else:
        holds = f"The newest checkpoint that holds is of {report.verified_until}." if report.verified_until else ""
        lines.append(f"DAMAGE FOUND. {holds}")
    return "\n".join(lines).strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this file."""
    parser = argparse.ArgumentParser(description="Checks an audit export of Reading Room.")
    parser.add_argument("export", metavar="EXPORT.zip", type=Path)
    parser.add_argument(
        "--key", default="", metavar="VKEY", help="the log's first public key, from outside: name+hash+key"
    )
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint from outside")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        import cryptography  # noqa: F401

        report = verify_export(options.export, key=options.key, outside=texts_of(options.checkpoint))
    except ImportError:
        print("verify_audit: Python's package cryptography is missing.", file=sys.stderr)
        return 2
    except CannotRun as error:
        print(f"verify_audit: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report.as_dict()) if options.json else describe(report))
    return 0 if report.sound else 1


if __name__ == "__main__":
    sys.exit(main())
