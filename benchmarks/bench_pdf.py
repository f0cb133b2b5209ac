"""python -m benchmarks.bench_pdf [--pages N]: how fast a PDF is read, and how soon a long one can be searched.

The file is made: sentences of the sample documents, some 3,000 characters on each page, the same bytes every time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2  # type: ignore[import-untyped]

from appliance.ops.environment import REPOSITORY
from benchmarks import memory, synthetic
from benchmarks.room import Room, print_result, running_room, say
from ingest.options import Options
from ingest.pdf import parse_pdf

DEFAULT_PAGES = 900
SAMPLES = REPOSITORY / "samples" / "documents"
_TEXT_PAGES = 150
_REPEATS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_pdf", description=__doc__)
    parser.add_argument("--pages", type=int, default=DEFAULT_PAGES)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the appliance")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path, short = Path(temporary) / "long.pdf", Path(temporary) / "short.pdf"
        synthetic.write_pdf(path, SAMPLES, options.pages)
        synthetic.write_pdf(short, SAMPLES, _TEXT_PAGES)
        result: dict[str, Any] = {"pages": options.pages, "bytes": path.stat().st_size, "text": _text(short)}
        say(f"text alone: {result['text']}")
        with running_room(dict(setting.split("=", 1) for setting in options.set)) as room:
            result["ready"] = _ready(room, path)
    result["settings"] = options.set
    result["machine"] = {"cores": len(os.sched_getaffinity(0)), "load_1_min": round(os.getloadavg()[0], 1)}
    print_result(result)
    return 0


def _text(path: Path) -> dict[str, float]:
    """Pages/s of processor time, best of three: the parser with and without boxes of words, and PDFium by itself."""
    ways: dict[str, Callable[[], object]] = {
        "pages_per_s": lambda: parse_pdf(path, name=path.name),
        "pages_per_s_with_boxes": lambda: parse_pdf(path, name=path.name, options=Options(layouts=True)),
        "pdfium_pages_per_s": lambda: _bare(path),
    }
    best = dict.fromkeys(ways, 0.0)
    for _ in range(_REPEATS):
        for name, read in ways.items():
            began = time.process_time()
            pages = read()
            took = time.process_time() - began
            count = pages if isinstance(pages, int) else len(getattr(pages, "page_starts", ()) or ())
            best[name] = max(best[name], round(count / took, 1))
    return best | {"share_of_pdfium": round(best["pages_per_s"] / best["pdfium_pages_per_s"], 3)}


def _bare(path: Path) -> int:
    document = pypdfium2.PdfDocument(path)
    try:
        for number in range(len(document)):
            page = document[number]
            text = page.get_textpage()
            text.get_text_range()
            text.close()
            page.close()
        return len(document)
    finally:
        document.close()


def _ready(room: Room, path: Path) -> dict[str, Any]:
    """From the upload to the version's being searchable, and the most memory that the worker's processes had."""
    # Imported here: they need Django set up on the running appliance.
    from appliance.documents.models import IngestStep
    from benchmarks import corpus

    corpus.ingest_files("Warm-up", [SAMPLES / "policies" / "board-minutes-2026-01.pdf"])
    with memory.peak_of(room.stack.pid("worker")) as peak:
        ingested = corpus.ingest_files("Long", [path])
    (version,) = ingested.versions.values()
    took = {
        step: detail.get("seconds")
        for step, detail in IngestStep.objects.filter(version=version).values_list("step", "detail")
    }
    return {
        "status": version.status,
        "seconds": round(ingested.seconds, 1),
        "read_s": took.get("read"),
        "embedding_s": took.get("embedded"),
        "chunks": version.num_chunks,
        "worker_peak_bytes": peak.bytes,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
