"""python -m benchmarks.soak_ingest [--kills 20] [--seed 7]: workers, database and queue killed under files, very often.

`--kills` workers are killed at each stage of a file's way, then PostgreSQL and Redis (which loses everything) while
files are read. Counted is what `benchmarks.survival` finds wrong afterwards. One JSON object last on stdout.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

from benchmarks import survival
from benchmarks.room import print_result, running_room, say
from benchmarks.slow_embedder import SlowEmbedder

AT_ONCE = 4
_STEADY = {"APPLIANCE_INGEST_LEASE_S": "2", "APPLIANCE_SWEEP_INTERVAL_S": "1"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak_ingest", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="at each stage")
    parser.add_argument("--crashes", type=int, default=5, help="of PostgreSQL and of Redis, each")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with running_room(_STEADY) as room:
        stack = room.stack
        with SlowEmbedder(stack.environment["APPLIANCE_INFERENCE_URL"]) as embedder:
            from appliance.documents.actions import do_create_collection
            from appliance.ops.commands import COMMAND
            from benchmarks.ingest_kills import SETTINGS, STAGES, Kills

            stack.environment.update(SETTINGS | {"APPLIANCE_INFERENCE_URL": embedder.url})
            stack.restart("worker")
            collection = do_create_collection("Soak", acting_user=None, actor=COMMAND)
            owner = stack.environment["APPLIANCE_DATABASE_OWNER_URL"]
            kills = Kills(stack, owner, embedder, collection, random.Random(options.seed))
            slowest = 0.0
            rounds = [(stage, AT_ONCE) for stage in STAGES for _ in range(options.kills // AT_ONCE)]
            rounds += [(stage, options.kills % AT_ONCE) for stage in STAGES if options.kills % AT_ONCE]
            kills.random.shuffle(rounds)
            for stage, count in rounds:
                took = kills.at(stage, count)
                slowest = max(slowest, took)
                say(f"{count} killed at {stage}: all had ended after {took:.1f} s")
            for _ in range(options.crashes):
                took = kills.crash(6, working=AT_ONCE)
                slowest = max(slowest, took)
                say(f"PostgreSQL and Redis killed: all had ended after {took:.1f} s")
            result: dict[str, Any] = {
                "killed": kills.killed,
                "crashes": options.crashes,
                "slowest_recovery_s": round(slowest, 1),
                "outcomes": survival.outcomes(owner, 0),
                "faults": survival.faults(owner, Path(stack.environment["APPLIANCE_DATA_DIR"])),
            }
    print_result(result)
    return 0 if not result["faults"] and set(result["outcomes"]) == {"ready"} else 1


if __name__ == "__main__":
    sys.exit(main())
