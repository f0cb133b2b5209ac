"""Checkpoints as signed notes: what leaves the appliance, and what others verify.

The formats are C2SP's signed-note and tlog-checkpoint, so that tools of transparency logs read them:

    reading-room/5f0c9a1e                       origin: which log
    1024                                        leaves in the tree
    qHk9v8QmT...=                               root, base64
    time 2026-11-20T22:00:00Z                   extension lines

    — reading-room/5f0c9a1e Nk3rB9p...=         key hash (4 bytes) and Ed25519 signature, base64

No Django here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ED25519 = b"\x01"
_DASH = "— "


class NoteError(Exception):
    """A note, checkpoint or key that is not what it should be; the message says in which way."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """Who may have signed: a name and an Ed25519 key. As text: `name+hash+base64`."""

    name: str
    key: bytes

    @property
    def hash(self) -> bytes:
        """Four bytes that a signature names its key by."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{_encoded(_ED25519 + self.key)}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """From its text. Raises NoteError."""
        parts = text.strip().split("+", 2)
        packed = _decoded(parts[2]) if len(parts) == 3 else b""
        if len(packed) != 33 or packed[:1] != _ED25519 or not _is_name(parts[0]):
            raise NoteError("not a public key: name+hash+key was expected")
        found = cls(parts[0], packed[1:])
        if found.hash.hex() != parts[1]:
            raise NoteError("the public key does not have the hash that stands beside it")
        return found

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether this key signed `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """What signs. As text: `PRIVATE+KEY+name+hash+base64`; it shows in no repr."""

    name: str
    seed: bytes

    @classmethod
    def make(cls, name: str) -> PrivateKey:
        """A new random key."""
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> PrivateKey:
        """From its text. Raises NoteError, which does not repeat the text."""
        parts = text.strip().split("+", 4)
        packed = _decoded(parts[4]) if len(parts) == 5 and parts[:2] == ["PRIVATE", "KEY"] else b""
        if len(packed) != 33 or packed[:1] != _ED25519 or not _is_name(parts[2]):
            raise NoteError("not a private key: PRIVATE+KEY+name+hash+key was expected")
        found = cls(parts[2], packed[1:])
        if found.public.hash.hex() != parts[3]:
            raise NoteError("the private key does not have the hash that stands beside it")
        return found

    @property
    def public(self) -> PublicKey:
        """What verifies its signatures."""
        return PublicKey(self.name, Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw())

    def secret_text(self) -> str:
        """For the file that holds it."""
        return f"PRIVATE+KEY+{self.name}+{self.public.hash.hex()}+{_encoded(_ED25519 + self.seed)}"

    def signature_line(self, text: str) -> str:
        """The line below a note's text that says who signed."""
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"{_DASH}{self.name} {_encoded(self.public.hash + signature)}\n"


@dataclass(frozen=True, slots=True)
class Signature:
    """A line below a note: `line` as it stands there."""

    name: str
    key_hash: bytes
    signature: bytes
    line: str


@dataclass(frozen=True, slots=True)
class Note:
    """A text, which ends with a newline, and who signed it; nothing is verified yet."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, whole: str) -> Note:
        """Raises NoteError."""
        text, separator, below = whole.rpartition("\n\n")
        if not separator or not below.endswith("\n") or any(ord(c) < 32 and c != "\n" for c in whole):
            raise NoteError("not a signed note")
        return cls(f"{text}\n", tuple(_signature(line) for line in below.splitlines()))

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(each.line + chr(10) for each in self.signatures)}"

    def signed_by(self, key: PublicKey) -> bool:
        """Whether one of the signatures is this key's, and right."""
        ours = (each for each in self.signatures if (each.name, each.key_hash) == (key.name, key.hash))
        return any(key.verifies(self.text, each.signature) for each in ours)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of the tree: how many leaves, and the root over them. `extra` are the extension lines."""

    origin: str
    size: int
    root: bytes
    extra: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, self.size, _encoded(self.root), *self.extra))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """From a note's text. Raises NoteError."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
            raise NoteError("not a checkpoint")
        origin, size, root = lines[:3]
        if not size.isascii() or not size.isdigit() or str(int(size)) != size:
            raise NoteError("not a checkpoint: its second line is no number of leaves")
        hashed = _decoded(root)
        if len(hashed) != 32:
            raise NoteError("not a checkpoint: its third line is no root")
        return cls(origin, int(size), hashed, tuple(lines[3:-1]))

    def signed(self, *keys: PrivateKey) -> str:
        """The note, with a signature of each key."""
        return f"{self.text}\n{''.join(key.signature_line(self.text) for key in keys)}"


def _signature(line: str) -> Signature:
    name, _, packed = line.removeprefix(_DASH).partition(" ")
    found = _decoded(packed)
    if not line.startswith(_DASH) or len(found) < 5 or not _is_name(name):
        raise NoteError("not a signed note: a line below the text is no signature")
    return Signature(name, found[:4], found[4:], line)


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
