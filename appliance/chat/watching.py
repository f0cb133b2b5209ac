"""Watching that what an answer rests on may still be seen while it is written.

A grant can end, a wall go up or a person be switched off in the middle of an answer. The model may be silent for a
minute at that moment, so the watch runs by the clock and not by what the model writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from appliance.lib.errors import AccessEnded
from appliance.lib.threads import in_thread

T = TypeVar("T")

EVERY_S = 2.0


async def while_allowed(events: AsyncIterator[T], allowed: Callable[[], bool]) -> AsyncGenerator[T]:
    """The events, as long as `allowed` says so: asked before the first one and every two seconds.

    Raises AccessEnded as soon as it does not. `allowed` blocks and is run in a thread; `events` must be closed by
    the caller.
    """
    if not await in_thread(allowed):
        raise AccessEnded()
    checked = time.monotonic()
    coming: asyncio.Task[T] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            left = checked + EVERY_S - time.monotonic()
            done, _ = await asyncio.wait({coming}, timeout=max(0.0, left))
            if time.monotonic() - checked >= EVERY_S:
                if not await in_thread(allowed):
                    raise AccessEnded()
                checked = time.monotonic()
            if done:
                try:
                    event = coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming = None
                yield event
    finally:
        if coming is not None:
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, Exception):
                await coming
