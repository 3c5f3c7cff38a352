"""The jobs that this process remembers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.snapshot.model import JobStatus, SnapshotJob

__all__ = ["JobBook"]

JOBS_KEPT: Final = 1000
JOBS_RUNNING: Final = 64


class JobBook:
    """The newest 1,000 jobs, in memory; at most 64 run at a time."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, SnapshotJob] = OrderedDict()
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Take no new jobs: the service is stopping."""
        self._closed = True

    @property
    def is_idle(self) -> bool:
        """Whether no job runs."""
        return self._idle.is_set()

    async def idle(self) -> None:
        """Wait until no job runs."""
        await self._idle.wait()

    def add(self, job: SnapshotJob) -> None:
        """Remember a new job, and forget the oldest that has ended when there are too many.

        Raises:
            LayerError: TOO_MANY_REQUESTS; UNAVAILABLE after `close`.
        """
        if self._closed:
            raise LayerError(ErrorKind.UNAVAILABLE, "the service is stopping; try again")
        if self._running() >= JOBS_RUNNING:
            raise LayerError(
                ErrorKind.TOO_MANY_REQUESTS,
                f"{JOBS_RUNNING} snapshot jobs are running; try again when one has ended",
            )
        self._jobs[job.id] = job
        self._idle.clear()
        if len(self._jobs) > JOBS_KEPT:
            ended = (key for key, old in self._jobs.items() if old.status is not JobStatus.RUNNING)
            del self._jobs[next(ended)]

    def update(self, job: SnapshotJob) -> None:
        """Replace what is known of a job."""
        self._jobs[job.id] = job
        if job.status is not JobStatus.RUNNING and not self._running():
            self._idle.set()

    def get(self, namespace: Namespace, job_id: str) -> SnapshotJob:
        """One job.

        Raises:
            LayerError: NOT_FOUND.
        """
        job = self._jobs.get(job_id)
        if job is None or job.namespace != namespace:
            raise LayerError.not_found(f"namespace {namespace!r} has no snapshot job {job_id!r}")
        return job

    def list(self, namespace: Namespace) -> Sequence[SnapshotJob]:
        """The namespace's jobs, oldest first."""
        return [job for job in self._jobs.values() if job.namespace == namespace]

    def _running(self) -> int:
        return sum(job.status is JobStatus.RUNNING for job in self._jobs.values())
