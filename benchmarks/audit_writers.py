"""Many writers at once: audit events, or the bare rows that they are compared with, from several processes.

`python -m benchmarks.audit_writers KIND SECONDS THREADS` prints how many it wrote. KIND: "record" appends events as the
appliance does; "bare" inserts one row of the same bytes into a table with nothing but a primary key, through the same
cursor; "work" and "work+record" do it inside a transaction that takes 20 ms of other work.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

PROCESSES = 4
THREADS = 16
_WORK = "SELECT pg_sleep(0.02)"
_BARE = "INSERT INTO bench_bare (uid, recorded_at, canonical, leaf_hash) VALUES (%s, %s, %s, %s)"
TABLE = (
    "CREATE TABLE IF NOT EXISTS bench_bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uid uuid NOT NULL,"
    " recorded_at timestamptz NOT NULL, canonical bytea NOT NULL, leaf_hash bytea NOT NULL)"
)


def run(kind: str, seconds: float, *, threads: int = THREADS) -> float:
    """Rows a second, written by PROCESSES times `threads` writers at once."""
    command = [sys.executable, "-m", "benchmarks.audit_writers", kind, str(seconds), str(threads)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) for _ in range(PROCESSES)]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()  # ready
    for process in running:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    written = sum(int(process.communicate()[0]) for process in running)
    if any(process.returncode for process in running):
        raise RuntimeError(f"a writer of {kind!r} failed")
    return written / seconds


def _acts() -> dict[str, Callable[[], None]]:
    from django.db import connection, transaction

    from appliance.audit.models import EventType
    from appliance.audit.record import Actor, Entity, Event, record

    actor = Actor(uuid.uuid4(), "bench", session=str(uuid.uuid4()), address="192.0.2.1")
    document = str(uuid.uuid4())
    payload, digest = os.urandom(600), os.urandom(32)

    def append() -> None:
        entity = Entity("document", document, version=1, page=3, start=100, end=900)
        record(Event(EventType.ACCESS, "document.page", entities=(entity,)), actor=actor)

    def bare() -> None:
        with connection.cursor() as cursor:
            cursor.execute(_BARE, [uuid.uuid4(), datetime.now(UTC), payload, digest])

    def working(act: Callable[[], None] | None) -> Callable[[], None]:
        def work() -> None:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute(_BARE, [uuid.uuid4(), datetime.now(UTC), payload, digest])
                    cursor.execute(_WORK)
                if act is not None:
                    act()

        return work

    return {"record": append, "bare": bare, "work": working(None), "work+record": working(append)}


def main(kind: str, seconds: float, threads: int) -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "appliance.settings"
    os.environ["APPLIANCE_DATABASE_POOL"] = str(max(2, threads))
    import django

    django.setup()
    act = _acts()[kind]
    counts = [0] * threads
    ready, go = threading.Barrier(threads + 1), threading.Event()

    def write(number: int) -> None:
        act()  # a connection, and everything imported
        ready.wait()
        go.wait()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            act()
            counts[number] += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for writer in writers:
        writer.start()
    ready.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    go.set()
    for writer in writers:
        writer.join()
    print(sum(counts), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
