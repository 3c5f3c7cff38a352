"""Jobs carried out in tasks of this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.job_book import JobBook, JobT

__all__ = ["JobCounts", "JobRunner"]

_logger = logging.getLogger(__name__)


@dataclass
class JobCounts:
    """What became of jobs, since the start."""

    started: int = 0
    completed: int = 0
    failed: int = 0


class JobRunner(Generic[JobT]):
    """Starts jobs and sees to it that each ends in the book, whatever happens to it."""

    def __init__(self, book: JobBook[JobT], clock: Clock) -> None:
        self.counts = JobCounts()
        self._book = book
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, job: JobT, work: Callable[[], Awaitable[JobT]]) -> None:
        """Remember a job and do its work, which answers with the job as completed.

        Raises:
            LayerError: TOO_MANY_REQUESTS; UNAVAILABLE while the service is stopping.
        """
        self._book.add(job)
        self.counts.started += 1
        task = asyncio.create_task(self._run(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def refuse(self) -> None:
        """Take no new jobs."""
        self._book.close()

    async def drain(self, seconds: float) -> bool:
        """Give running jobs that time to end, then end them. Whether there were any."""
        if self._book.is_idle:
            return False
        try:
            async with asyncio.timeout(seconds):
                await self._book.idle()
        except TimeoutError:
            _logger.warning("running jobs cut off", extra={"seconds": seconds})
        await self.close()
        return True

    async def close(self) -> None:
        """End what still runs; those jobs say that they failed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: JobT, work: Callable[[], Awaitable[JobT]]) -> None:
        try:
            self._book.update(await work())
            self.counts.completed += 1
        except LayerError as error:
            self._fail(job, error.message)
        except asyncio.CancelledError:
            self._fail(job, "the service stopped before the job ended; start it again")
            raise
        except Exception:
            _logger.exception("job failed", extra={"job": job.id})
            self._fail(job, "internal error; the service's log has the details")

    def _fail(self, job: JobT, error: str) -> None:
        self.counts.failed += 1
        current = self._book.get(job.namespace, job.id)
        self._book.update(current.failed(self._clock.now_ns() // 1_000_000, error))
