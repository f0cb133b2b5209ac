"""The sealed log as a file that leaves the appliance, with the program that checks it.

    events.jsonl       a line for each leaf, in order: index, fingerprint, and the bytes that are sealed
    checkpoints.jsonl  every signed head
    keys.jsonl         the statements that name the keys, the first one first
    verify_audit.py    checks all that on any machine
    README.txt         how

Everything is read in one snapshot and written as it comes: memory does not grow with the log.
"""

from __future__ import annotations

import base64
import json
import os
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from appliance.audit import verifier
from appliance.lib.errors import BadRequest, Conflict

Connection = psycopg.Connection[tuple[Any, ...]]

_BATCH = 5_000
_LEAVES = """
SELECT l.index, e.canonical, e.leaf_hash FROM audit_leaf l LEFT JOIN audit_auditevent e ON e.id = l.event_id
WHERE l.index < %s ORDER BY l.index
"""
_README = """\
The audit of a Reading Room, sealed up to {size} events.

To check it, on any machine with Python 3.11 or later and Python's package cryptography:

    python verify_audit.py THIS.zip --key KEY --checkpoint FILE

THIS.zip  this file as it was given to you; verify_audit.py is inside it. Better: take the one that you have from
          an earlier export, or from the installation medium.
KEY       the log's first public key, as it was noted when the appliance was installed. Without it the key in this
          file is believed, and whoever could write a new log with a new key would not be noticed.
FILE      a checkpoint that left the appliance earlier: from the folder for checkpoints, from the syslog server, or
          printed. Without one, a log that was cut off or written anew with the key would not be noticed.

It prints what it found and ends with 0 (nothing was changed), 1 (damage found) or 2 (could not run).

events.jsonl has a line for each event: its place in the tree, its fingerprint, and the event. The fingerprint is the
SHA-256 of a zero byte and the event's characters as they stand there. checkpoints.jsonl has the signed roots (C2SP
tlog-checkpoint over an RFC 6962 tree), keys.jsonl the statements that name the keys. Events hold ids, counts and codes:
no question, no answer, no text of a document.
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how much of it."""

    path: Path
    size: int
    num_checkpoints: int
    size_bytes: int


def export_log(connection: Connection, path: Path, *, announce: Callable[[int], None]) -> Exported:
    """Writes the log up to its newest head. `announce(size)` is called before anything is written.

    The file is readable by its owner alone, and appears under its name when it is complete. Raises BadRequest,
    Conflict for a file that is there already, a database error, or OSError for a full disk.
    """
    _require_new(path)
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        row = connection.execute("SELECT max(size), count(*) FROM audit_checkpoint").fetchone()
        size, num_checkpoints = (row[0] or 0, row[1]) if row else (0, 0)
        announce(size)
        _reserve(path)
        draft = path.with_name(f".{path.name}.part")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                    _write(archive, connection, size)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            raise
    return Exported(path, size, num_checkpoints, path.stat().st_size)


def _require_new(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise _taken(path)
    if not path.parent.is_dir():
        raise BadRequest(f"There is no folder {path.parent}.", hint="Make it first.", code="export_folder_missing")


def _reserve(path: Path) -> None:
    """Takes the name, so that no two exports write the same file. Without hard links: a stick may have none."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: Path) -> Conflict:
    return Conflict(f"{path} is there already.", hint="Choose another name.", code="export_exists")


def _write(archive: zipfile.ZipFile, connection: Connection, size: int) -> None:
    archive.writestr("README.txt", _README.format(size=f"{size:,}"))
    archive.writestr("verify_audit.py", Path(verifier.__file__).read_bytes())
    keys = "SELECT statement FROM audit_sealkey ORDER BY id"
    _write_lines(archive, "keys.jsonl", _objects(connection, keys, "statement"))
    heads = "SELECT note FROM audit_checkpoint ORDER BY size"
    _write_lines(archive, "checkpoints.jsonl", _objects(connection, heads, "note"))
    _write_lines(archive, "events.jsonl", _events(connection, size))


def _write_lines(archive: zipfile.ZipFile, name: str, lines: Iterable[bytes]) -> None:
    with archive.open(name, "w", force_zip64=True) as stream:
        for line in lines:
            stream.write(line)


def _objects(connection: Connection, query: Any, name: str) -> Iterable[bytes]:
    with connection.cursor(name) as cursor:
        cursor.itersize = _BATCH
        for (text,) in cursor.execute(query):
            yield json.dumps({name: text}, ensure_ascii=False).encode() + b"\n"


def _events(connection: Connection, size: int) -> Iterable[bytes]:
    with connection.cursor("events", binary=True) as cursor:
        cursor.execute(_LEAVES, (size,))
        while rows := cursor.fetchmany(_BATCH):
            yield b"".join([_line(*row) for row in rows])


def _line(index: int, canonical: bytes | None, stored: bytes | None) -> bytes:
    fingerprint = b"null" if stored is None else b'"' + stored.hex().encode() + b'"'
    return b'{"leaf":%d,"hash":%s,%s}\n' % (index, fingerprint, _event(canonical))


def _event(canonical: bytes | None) -> bytes:
    if canonical is None:
        return b'"event":null'
    if canonical.startswith(b"{") and canonical.endswith(b"}") and b"\n" not in canonical and b"\r" not in canonical:
        return b'"event":' + canonical
    return b'"bytes":"' + base64.b64encode(canonical) + b'"'  # no event any more; kept as it is
