"""A folder that checkpoints are written to: a share, a mounted stick, a write-once volume."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from appliance.audit.delivery.heads import Head, Undelivered


@dataclass(frozen=True, slots=True)
class Folder:
    """`checkpoint` is always the newest, replaced as a whole; each day has a file that grows.

    The folder must be there. It is not made: what is not mounted would otherwise look delivered.
    """

    path: Path
    channel: str = "file"

    @property
    def target(self) -> str:
        return str(self.path)

    def deliver(self, head: Head) -> None:
        """Raises Undelivered."""
        try:
            self._append(f"checkpoints-{head.signed_at:%Y-%m-%d}", head.note)
            self._replace("checkpoint", head.note)
        except OSError as error:
            raise Undelivered(f"{error.strerror or error}") from error

    def _append(self, name: str, note: str) -> None:
        with open(self.path / name, "a", encoding="utf-8") as stream:
            stream.write(f"{note}\n")  # an empty line between one note and the next
            stream.flush()
            os.fsync(stream.fileno())

    def _replace(self, name: str, note: str) -> None:
        draft = self.path / f".{name}.new"
        with open(draft, "w", encoding="utf-8") as stream:
            stream.write(note)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, self.path / name)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
