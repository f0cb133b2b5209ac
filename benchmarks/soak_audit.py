"""python -m benchmarks.soak_audit [--rounds N]: parts are killed under load, and the audit is then gone through.

People search and ask without a pause while PostgreSQL, web, worker and sealer are killed in turns, with
SIGKILL. Afterwards nothing may be missing: each answer that arrived has its intent, what it showed and its outcome on
record, before it; every event has its leaf; the tree is sound.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.room import Room, print_result, running_room, say

PARTS = ("sealer", "web", "postgres", "worker")
_PEOPLE = 6
_BETWEEN_S = 2.0
QUESTION = "How often must ward areas be cleaned?"


@dataclass
class Load:
    """People at work; `answered` are the request ids of what arrived whole, by what was asked."""

    url: str
    tokens: list[str]
    stopped: threading.Event = field(default_factory=threading.Event)
    answered: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    failed: int = 0

    def run(self) -> list[threading.Thread]:
        """Begins; each thread is one person."""
        threads = [threading.Thread(target=self._person, args=(n, token)) for n, token in enumerate(self.tokens)]
        for thread in threads:
            thread.start()
        return threads

    def _person(self, number: int, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False) as http:
            turn = number
            while not self.stopped.is_set():
                turn += 1
                try:
                    self._act(http, "search" if turn % 3 else "answer")
                except httpx.HTTPError:
                    self.failed += 1
                    self.stopped.wait(0.2)

    def _act(self, http: httpx.Client, act: str) -> None:
        if act == "search":
            response = http.post("/api/v1/search", json={"query": QUESTION, "k": 3})
        else:
            body = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}], "collections": []}
            response = http.post("/v1/chat/completions", json=body)
        if response.status_code == 200:
            self.answered[act].append(response.headers["X-Request-Id"])
        else:
            self.failed += 1


def soak(room: Room, *, rounds: int) -> dict[str, Any]:
    """Kills one part a round; returns what was found. `faults` is what must be empty."""
    tokens = [_token(room, name) for name in ("alice", "bob") * (_PEOPLE // 2)]
    load = Load(room.stack.url, tokens)
    threads = load.run()
    kills: dict[str, int] = defaultdict(int)
    try:
        for number in range(rounds):
            time.sleep(_BETWEEN_S)
            part = PARTS[number % len(PARTS)]
            room.stack.kill(part)
            room.stack.restart(part)
            room.stack.wait_ready(120)
            kills[part] += 1
            say(f"round {number + 1}: {part} killed; {sum(map(len, load.answered.values()))} answers so far")
        time.sleep(_BETWEEN_S)
    finally:
        load.stopped.set()
        for thread in threads:
            thread.join()
    return {
        "rounds": rounds,
        "kills": dict(kills),
        "answered": {act: len(ids) for act, ids in load.answered.items()},
        "failed_requests": load.failed,
        **_looked_through(load),
    }


def _token(room: Room, name: str) -> str:
    return str(room.manage("issue_token", name, "--name", "soak", "--days", "1")["token"])


def _looked_through(load: Load) -> dict[str, Any]:
    """What the audit holds of it all."""
    from django.db import connections

    from appliance.audit.database import connect
    from appliance.audit.models import AuditEvent
    from appliance.audit.standing import standing
    from appliance.audit.verifying import verify_database

    connections.close_all()
    until = time.monotonic() + 60
    while standing().behind_s > 0 and time.monotonic() < until:
        time.sleep(0.1)
    steps: dict[str, list[str]] = defaultdict(list)
    for canonical in AuditEvent.objects.order_by("pk").values_list("canonical", flat=True).iterator():
        event = json.loads(bytes(canonical))
        steps[event["request"]].append(event["action"])
    faults = []
    for act, ids in load.answered.items():
        for request_id in ids:
            told = [action for action in steps[request_id] if action.startswith(f"{act}.")]
            if told != [f"{act}.ask", f"{act}.passages", f"{act}.finish"]:
                faults.append(f"{act} {request_id}: {told}")
    with connect() as connection:
        report = verify_database(connection, columns=True)
    faults += [f"{finding.code} at {finding.position}: {finding.message}" for finding in report.findings]
    if report.unsealed:
        faults.append(f"{report.unsealed} events without a seal")
    return {"events": report.size, "sound": report.sound, "faults": faults[:50], "num_faults": len(faults)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_audit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many kills")
    options = parser.parse_args()
    with running_room() as room:
        room.manage("seed_demo")
        result = soak(room, rounds=options.rounds)
    print_result(result)
    return 1 if result["num_faults"] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
