"""How much memory a process and its descendants hold together, at most, while something runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

_EVERY_S = 0.2


@dataclass
class Peak:
    """Bytes. Pages that several of the processes share are counted once (PSS)."""

    bytes: int = 0


@contextlib.contextmanager
def peak_of(pid: int) -> Iterator[Peak]:
    """Looks five times a second until the block ends."""
    peak, ended = Peak(), threading.Event()
    thread = threading.Thread(target=_watch, args=(psutil.Process(pid), peak, ended), daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _watch(process: psutil.Process, peak: Peak, ended: threading.Event) -> None:
    while not ended.wait(_EVERY_S):
        held = 0
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                held += one.memory_full_info().pss
        peak.bytes = max(peak.bytes, held)
