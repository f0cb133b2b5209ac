"""A new key for the seal: made beside the old one, named by it in the log, then put in its place.

    KEY.new is written -> the log names the new key, signed by both -> KEY.new becomes KEY

Killed in between, the sealer goes on from where it was: a KEY.new that the log knows takes its place, one that it does
not know is used for the next rotation.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.audit import keys
from appliance.audit.notes import PrivateKey
from appliance.audit.sealing import Connection


def settle(connection: Connection, key: PrivateKey, file: Path) -> PrivateKey:
    """The key that signs now: `key`, or the new one whose rotation was cut off. Raises NoteError for a damaged file."""
    draft = _draft(file)
    if not draft.exists():
        return key
    new = PrivateKey.parse(draft.read_text())
    if keys.newest(connection) != str(new.public):
        return key
    os.replace(draft, file)
    return new


def rotate(connection: Connection, key: PrivateKey, file: Path, size: int) -> PrivateKey:
    """A new key of the same name, which signs from `size` leaves on. The old one is gone from the disk afterwards."""
    draft = _draft(file)
    if not draft.exists():
        _write(draft, PrivateKey.make(key.name).secret_text())
    new = PrivateKey.parse(draft.read_text())
    keys.rotate(connection, key, new, size)
    os.replace(draft, file)
    return new


def _draft(file: Path) -> Path:
    return file.with_name(f"{file.name}.new")


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(f"{text}\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(aside, path)
