"""How SnapshotService leaves: the watcher first, then the jobs that people wait for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from services.core.clock import Clock
from services.snapshot.create_snapshot import CreateSnapshot
from services.snapshot.job_book import JobBook

__all__ = ["Drain"]

_logger = logging.getLogger(__name__)
_READABLE_SECONDS: Final = 2.0


class Drain:
    """Ends the service's work while its server still answers.

    Args:
        stop_watching: ends the watcher and gives its leases back.
    """

    def __init__(
        self,
        stop_watching: Callable[[], Awaitable[None]],
        jobs: JobBook,
        create: CreateSnapshot,
        clock: Clock,
    ) -> None:
        self._stop_watching = stop_watching
        self._jobs = jobs
        self._create = create
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        """New jobs are refused from now on; running ones have `seconds` to end, and then fail.
        How they ended can be read for 2 s more: this process alone knows, and callers poll."""
        self._jobs.close()
        await self._stop_watching()
        if self._jobs.is_idle:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._jobs.idle()
        except TimeoutError:
            _logger.warning("running jobs cut off", extra={"seconds": seconds})
        await self._create.close()
        await self._clock.sleep(_READABLE_SECONDS)
