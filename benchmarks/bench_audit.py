"""python -m benchmarks.bench_audit [--events N]: how fast the audit is written, sealed, verified and looked through.

Writing is measured twice: the database alone (pgbench sends the statement of `audit.record`, 64 clients) and with all
that Python does before it (`audit_writers`). Each stands beside rows of the same number and bytes that go into tables
with nothing but a primary key, in turns in the same run. Then N events are made, sealed, verified, and searched as a
compliance officer does.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from appliance.audit.tree import leaf_hash
from appliance.ops.services.postgres import packaged_binaries
from benchmarks import audit_writers
from benchmarks.room import Room, print_result, running_room, say
from benchmarks.scoring import percentile

DEFAULT_EVENTS = 200_000
CLIENTS = 64
SECONDS = 6.0
ROUNDS = 3
_PASSWORD = "a password of the benchmark"
_CANONICAL = b'{"detail":{},"pad":"' + b"x" * 580 + b'"}'
#: What stands for the parameters of a statement where pgbench sends it.
_VALUES = {
    "uid": "gen_random_uuid()",
    "recorded_at": "clock_timestamp()",
    "type": "'access'",
    "action": "'document.page'",
    "outcome": "'success'",
    "actor_id": "'3f0c1f7e-5a87-4b92-b7a0-1e6f6dd7b111'::uuid",
    "actor_name": "'bench'",
    "correlation": "gen_random_uuid()",
    "canonical": f"decode('{_CANONICAL.hex()}', 'hex')",
    "leaf_hash": f"decode('{leaf_hash(_CANONICAL).hex()}', 'hex')",
    "e_kind": "'{document}'",
    "e_object_id": "'{3f0c1f7e-5a87-4b92-b7a0-1e6f6dd7b111}'",
    "e_version": "'{1}'",
    "e_page": "'{3}'",
    "e_start": "'{100}'",
    "e_end": "'{900}'",
}
_BARE_TABLES = """
CREATE TABLE bench_event (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uid uuid, recorded_at timestamptz,
    type text, action text, outcome text, actor_id uuid, actor_name text, correlation uuid, canonical bytea,
    leaf_hash bytea);
CREATE TABLE bench_entity (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id bigint, kind text,
    object_id text, version int, page int, start int, "end" int);
"""
#: Made events: 2,000 people, 20,000 documents, 90 days; every tenth refused, every hundredth about broken glass.
_MADE = """
WITH event AS (
    INSERT INTO audit_auditevent (uid, recorded_at, type, action, outcome, actor_id, actor_name, correlation,
                                  canonical, leaf_hash)
    SELECT gen_random_uuid(), now() - interval '90 days' * (1 - n / %(events)s::float8),
           (ARRAY['intent','disclosure','outcome','access','access'])[1 + n %% 5],
           (ARRAY['search.ask','search.passages','search.finish','document.page','document.download'])[1 + n %% 5],
           CASE WHEN n %% 10 = 7 THEN 'refused' ELSE 'success' END,
           ('00000000-0000-4000-8000-' || lpad((n * 7919 %% 2000)::text, 12, '0'))::uuid, 'person',
           ('00000000-0000-4000-9000-' || lpad((n / 5)::text, 12, '0'))::uuid, body, sha256('\\x00'::bytea || body)
    FROM generate_series(%(first)s::int, %(last)s::int) AS n,
         LATERAL (
             SELECT convert_to('{"detail":{},"n":"' || n || '","pad":"' || repeat('x', 500) || '"}', 'UTF8')
         ) AS b (body)
    RETURNING id
)
INSERT INTO audit_auditentity (event_id, kind, object_id, version, page, start, "end")
SELECT id, 'document', '00000000-0000-4000-a000-' || lpad((id * 104729 %% 20000)::text, 12, '0'), 1, 3, 100, 900
FROM event
"""
#: What an officer filters by, as in the page's address.
_FILTERS = (
    "",
    "by=00000000-0000-4000-8000-000000000042",
    "document=00000000-0000-4000-a000-000000000777",
    "type=disclosure",
    "outcome=refused",
    "action=document.download",
    "type=access&outcome=refused",
    "type=disclosure&from=2020-01-01T00:00&to=2020-02-01T00:00",
    "by=00000000-0000-4000-8000-000000000042&type=disclosure",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_audit", description=__doc__)
    parser.add_argument("--events", type=int, default=DEFAULT_EVENTS, help="how many to make for reading")
    options = parser.parse_args()
    with running_room({"INFERENCE_THREADS": "1"}) as room:
        for part in ("beat", "inference"):
            room.stack.stop_part(part)
        with psycopg.connect(room.stack.environment["APPLIANCE_DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(_BARE_TABLES)
            owner.execute(audit_writers.TABLE)
            result: dict[str, Any] = {"append": _append(room), "append_python": _append_python()}
            result["seal"] = _sealed(owner)
            _make(owner, options.events)
            result["seal"] |= _sealed(owner)
            result["verify"] = _verify(room)
            result["review"] = _review(room)
    result["machine"] = {"cores": len(os.sched_getaffinity(0)), "load_1_min": round(os.getloadavg()[0], 1)}
    print_result(result)
    return 0


def _append(room: Room) -> dict[str, float]:
    """The statement of `record` from 64 clients, and the same rows bare; medians of rounds in turns."""
    from appliance.audit import record

    full = re.sub(r"%\((\w+)\)s", lambda found: _VALUES[found[1]], record.INSERT_WITH_ENTITIES)
    bare = full.replace("audit_auditevent", "bench_event").replace("audit_auditentity", "bench_entity")
    rates: dict[str, list[float]] = {"full": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        for name, sql in (("full", full), ("bare", bare)):
            Path(folder, name).write_text(" ".join(sql.split()) + ";\n")
        for turn in range(2 * ROUNDS):
            name = ("bare", "full")[turn % 2]
            rates[name].append(_pgbench(room, Path(folder, name)))
            say(f"append {name}: {rates[name][-1]:,.0f}/s")
    full_rate, bare_rate = (percentile(rates[name], 50) for name in ("full", "bare"))
    return {
        "events_per_s": round(full_rate),
        "bare_per_s": round(bare_rate),
        "share_of_bare_insert": round(full_rate / bare_rate, 3),
        "clients": CLIENTS,
    }


def _pgbench(room: Room, script: Path) -> float:
    command = [str(packaged_binaries() / "pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2"]
    command += ["-T", str(round(SECONDS)), "-f", str(script), room.stack.environment["APPLIANCE_DATABASE_WORKER_URL"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"pgbench: {done.stderr[-500:]}")
    return float(found[1])


def _append_python() -> dict[str, float]:
    rates: dict[str, list[float]] = {"bare": [], "record": [], "work": [], "work+record": []}
    for _ in range(2):
        for kind, found in rates.items():
            threads = 1 if "work" in kind else audit_writers.THREADS
            found.append(audit_writers.run(kind, SECONDS, threads=threads))
            say(f"append in Python, {kind}: {found[-1]:,.0f}/s")
    bare, record, work, both = (percentile(found, 50) for found in rates.values())
    return {
        "events_per_s": round(record),
        "share_of_bare_insert": round(record / bare, 3),
        "slower_in_20_ms_transaction": round(work / both, 3),
    }


def _make(owner: psycopg.Connection[Any], events: int) -> None:
    began = time.monotonic()
    for first in range(0, events, 100_000):
        last = min(events, first + 100_000) - 1
        owner.execute(_MADE, {"events": events, "first": first, "last": last})
    owner.execute("VACUUM ANALYZE audit_auditevent, audit_auditentity")
    say(f"{events:,} events are made after {time.monotonic() - began:.0f} s")


def _sealed(owner: psycopg.Connection[Any]) -> dict[str, Any]:
    """How long until nothing waits for its seal, and at which rate."""
    began, before = time.monotonic(), _leaves(owner)
    waiting = owner.execute("SELECT count(*) FROM audit_auditevent").fetchone()
    assert waiting is not None
    while _leaves(owner) < waiting[0]:
        time.sleep(0.05)
    took = time.monotonic() - began
    backlog = waiting[0] - before
    say(f"sealed: {backlog:,} in {took:.1f} s")
    if backlog < 50_000:
        return {"backlog_after_append": backlog}
    return {"events_per_s": round(backlog / took), "events": waiting[0]}


def _leaves(owner: psycopg.Connection[Any]) -> int:
    row = owner.execute("SELECT coalesce(max(size), 0) FROM audit_checkpoint").fetchone()
    assert row is not None
    return int(row[0])


def _verify(room: Room) -> dict[str, Any]:
    from appliance.audit.database import connect
    from appliance.audit.verifying import verify_database

    with connect() as connection:
        began, cpu = time.perf_counter(), time.process_time()
        report = verify_database(connection)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    if not report.sound:
        raise RuntimeError(f"the log is not sound: {report.findings[:3]}")
    say(f"verified {report.size:,} in {took:.1f} s")
    return {
        "events_per_s": round(report.size / took),
        "events_per_cpu_s": round(report.size / cpu),
        "events": report.size,
        "hours_for_10_million": round(10_000_000 / (report.size / took) / 3600, 3),
    }


def _review(room: Room) -> dict[str, Any]:
    took = {}
    for query, times in _looks(room):
        took[query or "none"] = round(percentile(times, 95), 1)
    say(f"review: {took}")
    return {"p95_ms": max(took.values()), "by_filter_p95_ms": took}


def _looks(room: Room) -> Iterator[tuple[str, list[float]]]:
    """The list of events as its page asks for it: three pages of each filter, ten times."""
    from django.test import Client

    from appliance.accounts.actions import do_create_user
    from appliance.accounts.models import Role, User
    from appliance.ops.commands import COMMAND

    officer = do_create_user("bench-officer", _PASSWORD, roles=(Role.COMPLIANCE_OFFICER,), actor=COMMAND)
    browser = Client(SERVER_NAME="127.0.0.1", headers={"HX-Request": "true"})
    browser.post("/sign-in", {"username": officer.username, "password": _PASSWORD})
    assert User.objects.filter(username="bench-officer").exists()
    for query in _FILTERS:
        times, before = list[float](), ""
        for turn in range(30):
            address = f"/audit?{query}" + (f"&before={before}" if turn % 3 and before else "")
            began = time.perf_counter()
            response = browser.get(address)
            times.append((time.perf_counter() - began) * 1000)
            if response.status_code != 200:
                raise RuntimeError(f"{address} answers {response.status_code}")
            found = re.search(r"before=([\w.:%+-]+)", response.content.decode())
            before = found[1] if found else ""
        yield query, times[3:]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
