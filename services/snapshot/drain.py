"""How SnapshotService leaves: the watcher first, then the jobs that people wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from services.core.clock import Clock
from services.core.job_runner import JobRunner

__all__ = ["Drain"]

_READABLE_SECONDS: Final = 2.0


class Drain:
    """Ends the service's work while its server still answers.

    Args:
        stop_watching: ends the watcher and gives its leases back.
        runners: what carries out jobs, of every kind.
    """

    def __init__(
        self,
        stop_watching: Callable[[], Awaitable[None]],
        runners: Sequence[JobRunner[Any]],
        clock: Clock,
    ) -> None:
        self._stop_watching = stop_watching
        self._runners = runners
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        """New jobs are refused from now on; running ones have `seconds` to end, and then fail.
        How they ended can be read for 2 s more: this process alone knows, and callers poll."""
        for runner in self._runners:
            runner.refuse()
        await self._stop_watching()
        drained = await asyncio.gather(*(runner.drain(seconds) for runner in self._runners))
        if any(drained):
            await self._clock.sleep(_READABLE_SECONDS)
