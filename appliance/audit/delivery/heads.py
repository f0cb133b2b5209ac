"""What is delivered, and to where: a channel is a place outside, by whatever way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """A signed head: its key in the database, and the note as it was signed. `root` is 32 bytes."""

    pk: int
    size: int
    root: bytes
    note: str
    signed_at: datetime


class Undelivered(Exception):
    """It did not arrive, or it is not known whether it did. The message says why, without secrets."""


class Channel(Protocol):
    """Where heads go. `channel` is the word in the table of deliveries, `target` says where to an officer."""

    @property
    def channel(self) -> str: ...

    @property
    def target(self) -> str: ...

    def deliver(self, head: Head) -> None:
        """Raises Undelivered."""
