"""Kills workers when a number of files are at one stage, each made sure to be there, and waits until all have ended.

    claimed      the row is leased, nothing else has happened       reading    the file is in the sandbox
    text         text and chunks stand, no vector yet               children   some of an archive's files are made
    embedding    some vectors stand                                 finishing  all vectors stand, the postings do not

The beat stands still meanwhile, so that nothing is taken over before the kill. Import it where Django is set up.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from django.db import connections
from PIL import Image, ImageDraw

from appliance.documents import actions
from appliance.documents.models import UNFINISHED, Collection, Document, DocumentVersion, VersionText
from appliance.ops.commands import COMMAND
from appliance.ops.stack import Stack
from benchmarks.holds import await_, held, names_held
from benchmarks.slow_embedder import SlowEmbedder

STAGES = ("claimed", "reading", "text", "children", "embedding", "finishing")
BATCH = 64  # texts a request, as the pipeline sends them
#: Short enough that what a dead worker left is soon taken over, and no file is put aside for being killed so often.
SETTINGS = {
    "APPLIANCE_INGEST_LEASE_S": "2",
    "APPLIANCE_INGEST_RETRY_S": "1",
    "APPLIANCE_SWEEP_INTERVAL_S": "1",
    "APPLIANCE_INGEST_MAX_ATTEMPTS": "30",
    "APPLIANCE_INFERENCE_SILENCE_TIMEOUT_S": "120",
    "APPLIANCE_WORKER_PROCESSES": "4",
}
_RECOVERY_LIMIT_S = 120.0  # what is promised: within two minutes of recovery
_MEMBERS = 4


@dataclass
class Kills:
    """One running set, its embedder behind `embedder`, and the collection that takes the files."""

    stack: Stack
    owner_url: str
    embedder: SlowEmbedder
    collection: Collection
    random: random.Random
    killed: dict[str, int] = field(default_factory=dict)

    def at(self, stage: str, count: int) -> float:
        """Sends `count` files, kills the workers when all are at the stage, and waits until every file has ended.

        Returns how many seconds that took after the kill.
        """
        self.stack.kill("beat", signal.SIGSTOP)
        try:
            with self._all_at(stage, count):
                self.kill_workers()
        finally:
            self.embedder.let_go()
            self.stack.kill("beat", signal.SIGCONT)
        self.killed[stage] = self.killed.get(stage, 0) + count
        killed = time.monotonic()
        self.await_end()
        return time.monotonic() - killed

    def crash(self, count: int, *, working: int) -> float:
        """Redis is killed and loses everything, and PostgreSQL is killed, while of `count` files `working` are read.

        Returns how many seconds it took from their recovery until every file had ended.
        """
        self.embedder.hold_smaller_than(BATCH)
        rows = [self._send_one("text") for _ in range(count)]
        await_(lambda: sum(row.status == "embedding" for row in self._now(rows)) >= working, "files at work")
        self.stack.kill("redis")
        shutil.rmtree(Path(self.stack.environment["APPLIANCE_DATA_DIR"]) / "redis")
        self.stack.start_part("redis")
        self.stack.kill("postgres")
        connections.close_all()
        connections["default"].close_pool()  # type: ignore[attr-defined]
        self.stack.start_part("postgres")
        self.embedder.let_go()
        recovered = time.monotonic()
        self.await_end()
        return time.monotonic() - recovered

    def kill_workers(self) -> None:
        """SIGKILL, to each process that works (as the kernel does when memory ends) or to the worker whole."""
        if self.random.random() < 0.25:
            self.stack.kill("worker")
            self.stack.start_part("worker")
            return
        for process in psutil.Process(self.stack.pid("worker")).children():
            os.kill(process.pid, signal.SIGKILL)

    def await_end(self) -> None:
        """Until nothing is under way any more. Raises TimeoutError when that takes longer than is promised."""
        unfinished = DocumentVersion.objects.filter(status__in=UNFINISHED)
        await_(lambda: not unfinished.exists(), "every file to end", timeout_s=_RECOVERY_LIMIT_S, every_s=0.1)

    def send(self, name: str, content: bytes) -> DocumentVersion:
        """Takes a file in, as an upload does."""
        return actions.do_upload(
            collection=self.collection, filename=name, file=io.BytesIO(content), acting_user=None, actor=COMMAND
        )

    @contextmanager
    def _all_at(self, stage: str, count: int) -> Iterator[None]:
        if stage == "embedding":
            self.embedder.hold_smaller_than(BATCH)
        if stage in ("embedding", "reading"):
            rows = [self._send_one(stage) for _ in range(count)]
            await_(lambda: self._are_at(stage, rows), f"{count} files at {stage}")
            yield
        elif stage == "children":
            names = [f"bundle-{uuid.uuid4().hex[:8]}.zip" for _ in range(count)]
            middle = [f"{name}/note-{_MEMBERS // 2}.txt" for name in names]
            with names_held(self.owner_url, str(self.collection.pk), middle) as hold:
                rows = [self.send(name, archive(name)) for name in names]
                hold.await_waiters(count)
                self._check(stage, rows)
                yield
        else:
            tables = {
                "claimed": "documents_ingeststep",
                "text": "documents_chunkembedding",
                "finishing": "documents_posting",
            }
            with held(self.owner_url, tables[stage]) as hold:
                rows = [self._send_one(stage) for _ in range(count)]
                hold.await_waiters(count)
                self._check(stage, rows)
                yield

    def _send_one(self, stage: str) -> DocumentVersion:
        mark = uuid.uuid4().hex[:8]
        if stage == "reading":
            return self.send(f"scan-{mark}.png", picture(mark))
        return self.send(f"ledger-{mark}.md", ledger(mark, sections=BATCH + 20 if stage == "embedding" else 6))

    def _check(self, stage: str, rows: list[DocumentVersion]) -> None:
        if not self._are_at(stage, rows):
            states = [(row.pk, row.status, row.chunks_done, row.num_chunks) for row in self._now(rows)]
            raise AssertionError(f"not at {stage}: {states}")

    def _are_at(self, stage: str, rows: list[DocumentVersion]) -> bool:
        return all(_is_at(stage, row) for row in self._now(rows))

    def _now(self, rows: list[DocumentVersion]) -> list[DocumentVersion]:
        return list(DocumentVersion.objects.filter(pk__in=[row.pk for row in rows]))


def _is_at(stage: str, row: DocumentVersion) -> bool:
    if stage == "claimed":
        return row.status == "queued" and row.lease_token is not None
    if stage == "reading":
        return row.status == "parsing" and not VersionText.objects.filter(version=row).exists()
    if row.status != "embedding":
        return False
    if stage == "text":
        return row.chunks_done == 0
    if stage == "children":
        return Document.objects.filter(parent=row.document_id).count() == _MEMBERS // 2
    if stage == "embedding":
        return 0 < row.chunks_done < row.num_chunks
    return row.chunks_done == row.num_chunks


def ledger(mark: str, *, sections: int) -> bytes:
    """A text of as many chunks as sections: no two fit into one."""
    lines = "\n".join(f"House {house} of {mark} takes {house * 7} crates of salt." for house in range(13))
    return "\n\n".join(f"# Berth {n}\n\nBerth {n} is let.\n{lines}" for n in range(sections)).encode()


def picture(mark: str) -> bytes:
    """A page that takes seconds to read."""
    page = Image.new("L", (1654, 2339), 255)
    draw = ImageDraw.Draw(page)
    for line in range(45):
        words = f"{line} The {mark} lighthouse keeper trims the wick at dusk."
        draw.text((120, 120 + 45 * line), words, fill=0, font_size=32)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def archive(mark: str) -> bytes:
    """A zip archive of a few notes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for number in range(_MEMBERS):
            packed.writestr(f"note-{number}.txt", f"Note {number} of {mark}: the tide table hangs by the door.")
    return out.getvalue()
