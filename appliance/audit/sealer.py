"""The sealer: `python -m appliance.audit.sealer`. Seals every second, or when a thousand events wait.

A process of its own, with its own database role and the key that signs. It signs nothing while what it finds sealed
does not fit together, or the key is not the log's: to sign on top of that would hide the damage. It says so and looks
again; meanwhile the appliance sees how far behind the seal is. A lost connection is made again. Heads leave the
appliance from here, in threads of their own that sealing never waits for.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import psycopg

from appliance.audit import keys, rotation
from appliance.audit.delivery.courier import Couriers
from appliance.audit.delivery.settings import channels
from appliance.audit.notes import NoteError, PrivateKey
from appliance.audit.sealing import Connection, Head, SealBroken, last_head, load_tree, seal, waiting
from appliance.lib.env import SettingError, choice, secret

LOOK_EVERY_S = 0.25
SEAL_AFTER_S = 1.0
SEAL_AT_EVENTS = 1_000
_RETRY_S = 2.0
_LOOK_AGAIN_S = 30.0
#: One sealer at a time: a second one waits until the first is gone.
_LOCK = 5_823_641_907

log = logging.getLogger("appliance.audit.sealer")


@dataclass
class Signing:
    """What signs. With the `file` that it lies in, setting `rotate` has a new key made and named by this one."""

    key: PrivateKey
    file: Path | None = None
    rotate: threading.Event = field(default_factory=threading.Event)

    def settle(self, connection: Connection) -> None:
        """Ends a rotation that was cut off."""
        if self.file is not None:
            self.key = rotation.settle(connection, self.key, self.file)

    def follow(self, connection: Connection, size: int) -> None:
        """Rotates, when that was asked for."""
        if self.file is None or not self.rotate.is_set():
            return
        self.rotate.clear()
        self.key = rotation.rotate(connection, self.key, self.file, size)
        log.warning("a new key signs from %s events on: %s", f"{size:,}", self.key.public)


def run(url: str, signing: Signing, stopped: threading.Event, *, offer: Callable[[], None] = lambda: None) -> None:
    """Seals until `stopped`; `offer` is called after each new head, and must return at once."""
    while not stopped.is_set():
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="sealer") as connection:
                _serve(connection, signing, stopped, offer)
        except psycopg.OperationalError as error:
            log.warning("the database cannot be reached: %s", str(error).strip().splitlines()[0])
            stopped.wait(_RETRY_S)
        except (SealBroken, keys.WrongKey, NoteError, OSError) as error:
            log.error("nothing is sealed: %s", error)
            stopped.wait(_LOOK_AGAIN_S)


def _serve(connection: Connection, signing: Signing, stopped: threading.Event, offer: Callable[[], None]) -> None:
    while not _locked(connection):
        if stopped.wait(_RETRY_S):
            return
    head = last_head(connection)
    signing.settle(connection)
    keys.announce(connection, signing.key, head.size)
    tree = load_tree(connection, head)
    log.info("sealing goes on at %s events", f"{head.size:,}")
    while not stopped.is_set():
        signing.follow(connection, head.size)
        if not _due(connection, head):
            stopped.wait(LOOK_EVERY_S)
            continue
        head = seal(connection, signing.key, tree, head)
        offer()


def _due(connection: Connection, head: Head) -> bool:
    found = waiting(connection, head, limit=SEAL_AT_EVENTS)
    if found.oldest is None:
        return False
    waited_s = (datetime.now(UTC) - found.oldest).total_seconds()
    return found.num_events >= SEAL_AT_EVENTS or waited_s >= SEAL_AFTER_S


def _locked(connection: Connection) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).fetchone()
    return bool(row and row[0])


def main() -> int:
    """Until SIGTERM or SIGINT; SIGHUP has a new key made. 1: a setting is missing or wrong."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        level = choice("APPLIANCE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        url, key = secret("APPLIANCE_DATABASE_SEALER_URL"), PrivateKey.parse(secret("APPLIANCE_SEAL_KEY"))
        file = os.environ.get("APPLIANCE_SEAL_KEY_FILE", "").strip()
        signing = Signing(key, Path(file) if file else None)
        signal.signal(signal.SIGHUP, lambda number, frame: signing.rotate.set())
        with Couriers(url, channels()) as couriers:
            run(url, signing, stopped, offer=couriers.offer)
    except (SettingError, NoteError) as error:
        print(f"sealer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
