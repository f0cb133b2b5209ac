"""Which keys may sign the tree's heads: the first names itself, every later one is named by the one before it.

A statement is a signed note: the log's origin, the word "key", the new public key and the size of the tree from which
on it signs. Whoever has the first public key from outside the appliance can follow the statements to the present one.
No Django here.
"""

from __future__ import annotations

from appliance.audit.notes import Note, NoteError, PrivateKey, PublicKey
from appliance.audit.sealing import Connection

_KEYS = "SELECT public_key, statement, since_size FROM audit_sealkey ORDER BY id"


class WrongKey(Exception):
    """The key is not one that this log was told of. The message says what to do."""


def statement(origin: str, key: PublicKey, since_size: int, *signers: PrivateKey) -> str:
    """The note that names `key`."""
    text = f"{origin}\nkey\n{key}\n{since_size}\n"
    return f"{text}\n{''.join(signer.signature_line(text) for signer in signers)}"


def newest(connection: Connection) -> str | None:
    """The public key that the log named last."""
    known = connection.execute(_KEYS).fetchall()
    return known[-1][0] if known else None


def announce(connection: Connection, key: PrivateKey, size: int) -> None:
    """Has the log know its first key. Raises WrongKey for one that is neither its newest nor its first."""
    known = connection.execute(_KEYS).fetchall()
    if not known and size == 0:
        _add(connection, key, statement(key.name, key.public, 0, key), 0)
    elif not known or known[-1][0] != str(key.public):
        raise WrongKey(
            f"the key {key.public} is not the one that sealed so far. Put the old key back, "
            "or have the sealer make a new one with it (SIGHUP)."
        )


def rotate(connection: Connection, old: PrivateKey, new: PrivateKey, size: int) -> str:
    """Names `new` as the key from `size` on, signed by both; returns the statement. Raises WrongKey."""
    announce(connection, old, size)
    made = statement(old.name, new.public, size, old, new)
    _add(connection, new, made, size)
    return made


def followed(first: PublicKey, statements: list[str]) -> list[tuple[PublicKey, int]]:
    """The keys from `first` on, each with the size from which it signs. Raises NoteError where the chain breaks."""
    found = list[tuple[PublicKey, int]]()
    for number, text in enumerate(statements):
        note = Note.parse(text)
        lines = note.text.splitlines()
        if len(lines) != 4 or lines[1] != "key" or not lines[3].isdigit():
            raise NoteError(f"statement {number} names no key")
        key, since = PublicKey.parse(lines[2]), int(lines[3])
        signer = found[-1][0] if found else first
        if not found and key != first:
            raise NoteError("the first key is another one")
        if lines[0] != first.name or not note.signed_by(signer) or not note.signed_by(key):
            raise NoteError(f"statement {number} is not signed by the key before it and by its own")
        if found and since < found[-1][1]:
            raise NoteError(f"statement {number} begins before the one before it")
        found.append((key, since))
    return found


def _add(connection: Connection, key: PrivateKey, made: str, size: int) -> None:
    connection.execute(
        "INSERT INTO audit_sealkey (name, public_key, statement, since_size, made_at) VALUES (%s, %s, %s, %s, now())",
        (key.name, str(key.public), made, size),
    )
