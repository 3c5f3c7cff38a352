"""Background tasks that end with their owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

__all__ = ["running"]


@asynccontextmanager
async def running(*loops: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run endless loops while the context is open; cancel and await them when it closes.

    A loop that fails cancels the task that opened the context, which then leaves it with the
    loop's error: a server that has silently lost its watcher is worse than one that restarts.

    Raises:
        ExceptionGroup: a loop failed.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
