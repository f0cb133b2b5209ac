"""Envelope encryption of blobs: AES-256-GCM, a key per document, each wrapped by the master key.

A blob is a sequence of segments so that a large file needs neither its size in memory nor one huge tag:

    file    = magic (4) | nonce prefix (7) | segment...
    segment = AES-GCM(up to 1 MiB of plaintext) with its tag (16)
    nonce   = prefix (7) | segment number (4, big endian) | last flag (1)

The number and the last flag in the nonce make reordering, dropping and truncation fail to decrypt (the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). The associated data binds a blob to its version.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

MAGIC = b"RRB1"
SEGMENT_BYTES = 1024 * 1024
_TAG_BYTES = 16
_PREFIX_BYTES = 7


class DecryptionError(Exception):
    """The blob or key was changed, cut short, or belongs to another key."""


def new_wrapped_key(master_key: bytes) -> bytes:
    """A fresh 256-bit document key, wrapped (RFC 5649) by the 32-byte master key."""
    return aes_key_wrap_with_padding(master_key, AESGCM.generate_key(256))


def unwrap_key(master_key: bytes, wrapped: bytes) -> bytes:
    """The document key. Raises DecryptionError when the master key is another."""
    try:
        return aes_key_unwrap_with_padding(master_key, wrapped)
    except InvalidUnwrap:
        raise DecryptionError("the document key was not wrapped by this master key") from None


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    return prefix + number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


def encrypt_stream(source: BinaryIO, target: BinaryIO, *, key: bytes, context: bytes) -> None:
    """Encrypts all of `source` into `target`; `context` must be given again to decrypt."""
    cipher, prefix = AESGCM(key), os.urandom(_PREFIX_BYTES)
    target.write(MAGIC + prefix)
    number, segment = 0, source.read(SEGMENT_BYTES)
    while True:
        following = source.read(SEGMENT_BYTES) if len(segment) == SEGMENT_BYTES else b""
        last = not following
        target.write(cipher.encrypt(_nonce(prefix, number, last), segment, context))
        if last:
            return
        number, segment = number + 1, following


def decrypt_stream(source: BinaryIO, *, key: bytes, context: bytes) -> Iterator[bytes]:
    """Yields the plaintext in segments of at most 1 MiB. Raises DecryptionError before yielding a bad one."""
    header = source.read(len(MAGIC) + _PREFIX_BYTES)
    if len(header) != len(MAGIC) + _PREFIX_BYTES or not header.startswith(MAGIC):
        raise DecryptionError("not an encrypted blob")
    cipher, prefix = AESGCM(key), header[len(MAGIC) :]
    number, segment = 0, source.read(SEGMENT_BYTES + _TAG_BYTES)
    while True:
        following = source.read(SEGMENT_BYTES + _TAG_BYTES)
        last = not following
        try:
            yield cipher.decrypt(_nonce(prefix, number, last), segment, context)
        except InvalidTag:
            raise DecryptionError(f"segment {number} was changed or cut short") from None
        if last:
            return
        number, segment = number + 1, following


def seal(master_key: bytes, secret: bytes, *, context: bytes) -> bytes:
    """A small secret under a key of its own, wrapped by the master key. `context` must be given again to open it."""
    wrapped = new_wrapped_key(master_key)
    return len(wrapped).to_bytes(1, "big") + wrapped + encrypt(unwrap_key(master_key, wrapped), secret, context=context)


def unseal(master_key: bytes, sealed: bytes, *, context: bytes) -> bytes:
    """What `seal` was given. Raises DecryptionError for another key or context, or a changed byte."""
    end = 1 + sealed[0] if sealed else 1
    return decrypt(unwrap_key(master_key, sealed[1:end]), sealed[end:], context=context)


def encrypt(key: bytes, text: bytes, *, context: bytes) -> bytes:
    """A text that fits into memory, under a key that is kept elsewhere: erasing the key erases the text."""
    target = io.BytesIO()
    encrypt_stream(io.BytesIO(text), target, key=key, context=context)
    return target.getvalue()


def decrypt(key: bytes, encrypted: bytes, *, context: bytes) -> bytes:
    """What `encrypt` was given. Raises DecryptionError for another key or context, or a changed byte."""
    return b"".join(decrypt_stream(io.BytesIO(encrypted), key=key, context=context))
