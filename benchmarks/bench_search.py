"""python -m benchmarks.bench_search [--chunks N]: search among very many chunks, by people who see all or some of them.

The chunks are made: each repeats the text and the embedding of one of the 4,000 chunks of `bench`'s made corpus, with a
number of its own in the text, a random three fifths of its terms in the index, and noise on the vector (cosine to the
original about 0.9). Speed and recall of the index are measured, not the quality of answers.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from appliance.ops.environment import REPOSITORY
from benchmarks import synthetic
from benchmarks.room import Room, print_result, running_room, say

DEFAULT_CHUNKS = 100_000
SHARES = ("1.0", "0.1", "0.01", "0.001")
SAMPLES = REPOSITORY / "samples" / "documents"
NUM_QUESTIONS = 40
NUM_COMPARED = 15


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_search", description=__doc__)
    parser.add_argument("--chunks", type=int, default=DEFAULT_CHUNKS, help="how many to make (1,000 and more)")
    options = parser.parse_args()
    if options.chunks < 1_000:
        print("A thousandth of the chunks must hold one: make at least 1,000.", file=sys.stderr)
        return 2
    began = time.monotonic()
    with running_room({"INFERENCE_THREADS": "1"}) as room:
        result = _measure(room, options.chunks)
    result["machine"] = {"cores": len(os.sched_getaffinity(0)), "load_1_min": round(os.getloadavg()[0], 1)}
    result["seconds"] = round(time.monotonic() - began, 1)
    print_result(result)
    return 0


def _measure(room: Room, chunks: int) -> dict[str, Any]:
    # Imported here: they need Django set up on the running appliance.
    from benchmarks import search_scale
    from benchmarks.corpus import ingest_files

    with tempfile.TemporaryDirectory() as temporary:
        ingest_files("Sources", synthetic.write_corpus(Path(temporary), SAMPLES))
    built = search_scale.build(room, chunks)
    say(f"{chunks:,} chunks are in: {built.figures}")
    people = search_scale.readers(built)
    visibility = {}
    forbidden = 0
    for share, reader in people.items():
        measured, wrong = search_scale.measure(reader, built, questions=NUM_QUESTIONS, compared=NUM_COMPARED)
        visibility[share] = measured
        forbidden += wrong
        say(f"visibility {share}: {measured}")
    return {
        "chunks": chunks,
        "data": "replicated: the made corpus's embeddings with noise",
        "visibility": visibility,
        "forbidden_rows": forbidden,
        **built.figures,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
