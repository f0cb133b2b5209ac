"""What was asked and answered, apart from the events that say it happened.

    key        = a fresh 256-bit AES key for each text, wrapped by the master key
    ciphertext = AES-256-GCM(key, text), bound to the correlation and the kind
    commitment = SHA-256(0x02 || salt || kind || text), the salt 16 random bytes; 0x00 and 0x01 are the tree's own

The event holds the commitment, so the sealed tree covers the text without holding it. Erasing a text takes its salt,
key and ciphertext: every proof stays valid, and nobody can try any more whether a text was it.

A row is added in the transaction of its event. What the application's role may read of it, the database decides: only
what a second person has allowed whoever asks to read (see `audit.reveals`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import uuid
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.utils import timezone

from appliance.audit.models import AuditEvent, Content, ContentKind
from appliance.audit.record import Actor, Event, Recorded, record
from appliance.lib import crypto
from appliance.lib.errors import AuditUnavailable

#: The name of the commitment in an event's detail.
COMMITMENT = "commitment"
_PREFIX = b"\x02"
_SALT_BYTES = 16

# One text of a kind for each question. Who may add a row may not read it, so the statement must not return any.
_INSERT = """
INSERT INTO audit_content (id, correlation, kind, commitment, salt, wrapped_key, ciphertext, made_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, statement_timestamp()) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A text that was kept. `text` is None when it was erased; then `erased_at` says when."""

    kind: str
    text: str | None
    made_at: datetime
    erased_at: datetime | None


def commitment_of(salt: bytes, kind: ContentKind, text: str) -> bytes:
    """The 32 bytes that stand for a text in its event."""
    return hashlib.sha256(_PREFIX + salt + str(kind).encode() + text.encode(errors="surrogatepass")).digest()


def keep(kind: ContentKind, text: str, *, correlation: uuid.UUID) -> str:
    """Adds a text in the caller's transaction; returns its commitment in hex, for the event.

    Returns "" when a text of this kind was kept for the question before: the first one stands.
    """
    salt, wrapped = os.urandom(_SALT_BYTES), crypto.new_wrapped_key(settings.MASTER_KEY)
    commitment = commitment_of(salt, kind, text)
    ciphertext = crypto.encrypt(
        crypto.unwrap_key(settings.MASTER_KEY, wrapped),
        text.encode(errors="surrogatepass"),
        context=_context(correlation, kind),
    )
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [uuid.uuid4(), correlation, str(kind), commitment, salt, wrapped, ciphertext])
        return commitment.hex() if cursor.rowcount else ""


def record_with(event: Event, kind: ContentKind, text: str, *, actor: Actor) -> Recorded:
    """Appends an event together with the text it is about, which it names by its commitment alone.

    An empty text is not kept. Raises AuditUnavailable, and then neither is there.
    """
    if not text:
        return record(event, actor=actor)
    if event.correlation is None:
        raise ValueError("a text is kept under its question's correlation")
    try:
        with transaction.atomic():
            commitment = keep(kind, text, correlation=event.correlation)
            if commitment:
                event = replace(event, detail=event.detail | {COMMITMENT: commitment})
            return record(event, actor=actor)
    except DatabaseError as error:
        raise AuditUnavailable() from error


def open_(correlation: uuid.UUID) -> list[Kept]:
    """The texts of a question that the database shows whoever asks: the question first, then the answer.

    Raises DecryptionError when one was changed, or is not the one that was committed to.
    """
    rows = Content.objects.filter(correlation=correlation).order_by("-kind")
    return [Kept(row.kind, _opened(row), row.made_at, row.erased_at) for row in rows]


def _opened(row: Content) -> str | None:
    if row.wrapped_key is None or row.ciphertext is None or row.salt is None:
        return None
    key = crypto.unwrap_key(settings.MASTER_KEY, bytes(row.wrapped_key))
    kind = ContentKind(row.kind)
    text = crypto.decrypt(key, bytes(row.ciphertext), context=_context(row.correlation, kind))
    decoded = text.decode(errors="surrogatepass")
    if not hmac.compare_digest(commitment_of(bytes(row.salt), kind, decoded), bytes(row.commitment)):
        raise crypto.DecryptionError("the text is not the one that was committed to")
    return decoded


def erase(correlation: uuid.UUID) -> int:
    """Destroys the texts of a question for good; returns how many. The caller records why, in the same transaction."""
    rows = Content.objects.filter(correlation=correlation, erased_at=None)
    return rows.update(salt=None, wrapped_key=None, ciphertext=None, erased_at=timezone.now())


def verify(correlation: uuid.UUID) -> bool:
    """Whether every text of a question is the one its sealed events name. Erased ones have only their commitment left.

    Sees what the database shows whoever asks, like `open_`.
    """
    try:
        open_(correlation)
    except crypto.DecryptionError:
        return False
    named = {
        commitment
        for event in AuditEvent.objects.filter(correlation=correlation)
        if (commitment := json.loads(bytes(event.canonical))["detail"].get(COMMITMENT))
    }
    kept = Content.objects.filter(correlation=correlation).values_list("commitment", flat=True)
    return {bytes(commitment).hex() for commitment in kept} == named


def _context(correlation: uuid.UUID, kind: ContentKind) -> bytes:
    return b"audit content\x00" + correlation.bytes + str(kind).encode()
