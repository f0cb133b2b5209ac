"""Random secrets, made once and kept in files that only their owner can read."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from appliance.audit.notes import PrivateKey
from appliance.ops.services.errors import CannotStart

NAMES = (
    "django_secret",
    "master_key",
    "inference_api_key",
    "postgres_superuser",
    "database_owner",
    "database_app",
    "database_worker",
    "database_sealer",
    "seal_key",
    "redis",
)


def _new_secret(name: str) -> str:
    if name == "master_key":  # AES-256: exactly 32 bytes
        return base64.b64encode(secrets.token_bytes(32)).decode("ascii")
    if name == "seal_key":  # its name is also the log's: no two appliances share one
        return PrivateKey.make(f"reading-room/{secrets.token_hex(4)}").secret_text()
    return secrets.token_urlsafe(48)


class SecretFiles:
    """The secrets under `<data dir>/secrets`: a 0700 directory of 0600 files, one line each."""

    def __init__(self, data_dir: Path) -> None:
        self.directory = data_dir / "secrets"

    def path(self, name: str) -> Path:
        """Where the secret lies, made first when it does not exist.

        Complete or absent: it is written aside and linked into place, so of two processes that make the
        same secret one wins and both read the winner's. Raises KeyError on an unknown name, CannotStart
        when the file can be read by others or holds nothing.
        """
        if name not in NAMES:
            raise KeyError(name)
        path = self.directory / name
        if not path.exists():
            self._create(path, _new_secret(name))
        self._check(path)
        return path

    def read(self, name: str) -> str:
        """The secret itself; made first when it does not exist."""
        path = self.path(name)
        value = path.read_text(encoding="ascii").strip()
        if not value:
            raise CannotStart(f"{path} is empty. Put the secret back from a backup; it is never remade in place.")
        return value

    def create_all(self) -> None:
        """Makes every secret that does not exist yet."""
        for name in NAMES:
            self.path(name)

    def _create(self, path: Path, value: str) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=self.directory, prefix=f".{path.name}.")  # 0600 by definition
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(value + "\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            os.unlink(draft)

    def _check(self, path: Path) -> None:
        for place in (self.directory, path):
            if stat.S_IMODE(place.stat().st_mode) & 0o077:
                mode = "700" if place.is_dir() else "600"
                raise CannotStart(f'{place} can be read by other users. Run: chmod {mode} "{place}"')
