"""Brings heads to a channel, in a thread of its own: always the newest, at most one a minute.

Sealing never waits for it. Each delivery and each problem is a row; of problems at most one a minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import psycopg

from appliance.audit.delivery.heads import Channel, Head, Undelivered

EVERY_S = 60.0
RETRY_S = 10.0

_NEWEST = "SELECT id, size, root, note, signed_at FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_DELIVERED = "SELECT FROM audit_delivery WHERE checkpoint_id = %s AND channel = %s AND target = %s AND problem = ''"
_KEEP = "INSERT INTO audit_delivery (checkpoint_id, channel, target, at, problem) VALUES (%s, %s, %s, %s, %s)"

log = logging.getLogger("appliance.audit.delivery")


class Courier:
    """One channel's thread. `offer` says that there is a new head; `stop` tries once more for the newest."""

    def __init__(self, url: str, channel: Channel, *, every_s: float = EVERY_S, retry_s: float = RETRY_S) -> None:
        self._url = url
        self._channel = channel
        self._every_s = every_s
        self._retry_s = retry_s
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._delivered = 0
        self._problem_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"courier {channel.channel}", daemon=True)

    def start(self) -> None:
        """Begins with the newest head there is."""
        self._wake.set()
        self._thread.start()

    def offer(self) -> None:
        """Returns at once."""
        self._wake.set()

    def stop(self, *, wait_s: float = 6.0) -> None:
        """The newest head is tried once more; returns when that is over, or after `wait_s`."""
        self.end()
        self._thread.join(timeout=wait_s)

    def end(self) -> None:
        """The newest head is tried once more. Returns at once."""
        self._stopped.set()
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            is_last = self._stopped.is_set()
            self._wake.clear()
            try:
                done = self._bring()
            except Exception:  # whatever it is: the next head must leave all the same
                log.exception("the checkpoint did not reach %s", self._channel.target)
                done = False
            if is_last:
                return
            if done is not None:
                self._stopped.wait(self._every_s if done else self._retry_s)
            if done is False or self._stopped.is_set():
                self._wake.set()

    def _bring(self) -> bool | None:
        """Delivers the newest head: whether that was done, None where there is no newer one."""
        try:
            with psycopg.connect(
                self._url, autocommit=True, connect_timeout=5, application_name="courier"
            ) as connection:
                head = self._newest(connection)
                return None if head is None else self._deliver(connection, head)
        except psycopg.Error as error:
            log.warning("the database cannot be reached: %s", str(error).strip().splitlines()[0])
            return False

    def _newest(self, connection: psycopg.Connection[tuple[Any, ...]]) -> Head | None:
        row = connection.execute(_NEWEST).fetchone()
        if row is None or row[0] == self._delivered:
            return None
        head = Head(row[0], row[1], bytes(row[2]), row[3], row[4])
        known = connection.execute(_DELIVERED, (head.pk, self._channel.channel, self._channel.target[:200]))
        if known.fetchone() is not None:
            self._delivered = head.pk
            return None
        return head

    def _deliver(self, connection: psycopg.Connection[tuple[Any, ...]], head: Head) -> bool:
        channel, target = self._channel.channel, self._channel.target
        try:
            self._channel.deliver(head)
        except Undelivered as error:
            log.warning("the checkpoint at %s did not reach %s: %s", f"{head.size:,}", target, error)
            self._note_problem(connection, head, str(error))
            return False
        self._delivered = head.pk
        self._problem_at = None
        connection.execute(_KEEP, (head.pk, channel, target[:200], datetime.now(UTC), ""))
        return True

    def _note_problem(self, connection: psycopg.Connection[tuple[Any, ...]], head: Head, words: str) -> None:
        now = time.monotonic()
        if self._problem_at is None or now - self._problem_at >= EVERY_S:
            self._problem_at = now
            row = (head.pk, self._channel.channel, self._channel.target[:200], datetime.now(UTC), words[:300])
            connection.execute(_KEEP, row)


class Couriers:
    """All channels of the site."""

    def __init__(self, url: str, channels: Iterable[Channel]) -> None:
        self._couriers = [Courier(url, channel) for channel in channels]

    def __enter__(self) -> Couriers:
        for courier in self._couriers:
            courier.start()
        return self

    def offer(self) -> None:
        """There is a new head. Returns at once."""
        for courier in self._couriers:
            courier.offer()

    def __exit__(self, *raised: object) -> None:
        for courier in self._couriers:
            courier.end()
        for courier in self._couriers:
            courier.stop()
