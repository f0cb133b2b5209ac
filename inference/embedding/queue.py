"""One thread owns the embedder; everything that wants vectors queues for it.

A request is cut into batches of texts of like length. Between two batches of a large request the thread takes
whatever small request has arrived, so a question never waits for a whole document. After
`SMALL_RUNS_BEFORE_LARGE` small runs in a row a waiting large request gets one batch: it cannot starve.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from inference.embedding.embedder import BATCH_TEXTS, DIMENSIONS, Vectors

SMALL_REQUEST_TEXTS = 8
SMALL_RUNS_BEFORE_LARGE = 16

log = logging.getLogger(__name__)


class Encoder(Protocol):
    """What the queue drives: `encode` is only ever called from the queue's one thread."""

    def encode(self, texts: Sequence[str]) -> Vectors: ...


@dataclass
class _Job:
    texts: Sequence[str]
    future: Future[Vectors]
    order: list[int]  # indices into texts, longest first
    vectors: Vectors
    done: int = field(default=0)


class EmbedQueue:
    """Start with `start`, end with `close`; `embed` from the event loop."""

    def __init__(self, encoder: Encoder, *, dimensions: int = DIMENSIONS) -> None:
        self._encoder = encoder
        self._dimensions = dimensions
        self._small: deque[_Job] = deque()
        self._large: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._small_runs = 0
        self._thread = threading.Thread(target=self._run, name="embedder", daemon=True)

    def start(self) -> None:
        """Start the one thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish the batch in hand, cancel what waits, and end the thread."""
        with self._wake:
            self._closed = True
            for job in (*self._small, *self._large):
                job.future.cancel()
            self._small.clear()
            self._large.clear()
            self._wake.notify()

    async def embed(self, texts: Sequence[str], *, urgent: bool = False) -> Vectors:
        """Return unit vectors in the order of `texts`, shape (len(texts), dimensions).

        `urgent` texts go ahead like a small request, whatever their number: someone is watching a cursor.
        Cancelling the caller drops the batches that have not run.
        """
        if not texts:
            return np.zeros((0, self._dimensions), dtype=np.float32)
        job = _Job(
            texts=texts,
            future=Future(),
            order=sorted(range(len(texts)), key=lambda index: -len(texts[index])),
            vectors=np.empty((len(texts), self._dimensions), dtype=np.float32),
        )
        with self._wake:
            if self._closed:
                raise RuntimeError("the embed queue is closed")
            (self._small if urgent or len(texts) <= SMALL_REQUEST_TEXTS else self._large).append(job)
            self._wake.notify()
        return await asyncio.wrap_future(job.future)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._small or self._large or self._closed):
                    self._wake.wait()
                if self._closed:
                    return
                queue = self._next_queue()
                job = queue.popleft()
            if self._encode_batch(job):
                with self._wake:
                    if self._closed:
                        job.future.cancel()
                        return
                    queue.appendleft(job)

    def _next_queue(self) -> deque[_Job]:
        large_is_due = self._large and self._small_runs >= SMALL_RUNS_BEFORE_LARGE
        if self._small and not large_is_due:
            self._small_runs += 1
            return self._small
        self._small_runs = 0
        return self._large

    def _encode_batch(self, job: _Job) -> bool:
        """Run the next batch of `job`; return whether it has more to do."""
        if job.future.cancelled():
            return False
        indices = job.order[job.done : job.done + BATCH_TEXTS]
        try:
            job.vectors[indices] = self._encoder.encode([job.texts[index] for index in indices])
        except Exception as error:
            log.exception("embedding a batch of %d texts failed", len(indices))
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(error)
            return False
        job.done += len(indices)
        if job.done < len(job.order):
            return True
        if job.future.set_running_or_notify_cancel():
            job.future.set_result(job.vectors)
        return False
