"""The jobs that a process remembers."""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Generic, Protocol, Self, TypeVar

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace

__all__ = ["Job", "JobBook", "JobStatus"]

JOBS_KEPT: Final = 1000
JOBS_RUNNING: Final = 64


class JobStatus(enum.StrEnum):
    """How far a job is."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class Job(Protocol):
    """What the book has to know of a job; jobs are replaced, never changed."""

    @property
    def id(self) -> str: ...

    @property
    def namespace(self) -> Namespace: ...

    @property
    def is_running(self) -> bool: ...

    def failed(self, now_ms: int, error: str) -> Self:
        """The job as failed, with a sentence that says what to do."""
        ...


JobT = TypeVar("JobT", bound=Job)


class JobBook(Generic[JobT]):
    """The newest 1,000 jobs of a kind, in memory; at most 64 run at a time.

    Args:
        kind: what messages call the jobs, such as `snapshot job`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._jobs: OrderedDict[str, JobT] = OrderedDict()
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

    def add(self, job: JobT) -> None:
        """Remember a new job, and forget the oldest that has ended when there are too many.

        Raises:
            LayerError: TOO_MANY_REQUESTS; UNAVAILABLE after `close`.
        """
        if self._closed:
            raise LayerError(ErrorKind.UNAVAILABLE, "the service is stopping; try again")
        if self._running() >= JOBS_RUNNING:
            raise LayerError(
                ErrorKind.TOO_MANY_REQUESTS,
                f"{JOBS_RUNNING} {self._kind}s are running; try again when one has ended",
            )
        self._jobs[job.id] = job
        self._idle.clear()
        if len(self._jobs) > JOBS_KEPT:
            self.forget(next(old for old in self._jobs.values() if not old.is_running))

    def update(self, job: JobT) -> None:
        """Replace what is known of a job that is still remembered."""
        if job.id in self._jobs:
            self._jobs[job.id] = job
        self._settle()

    def forget(self, job: JobT) -> None:
        """Remember a job no longer."""
        del self._jobs[job.id]
        self._settle()

    def get(self, namespace: Namespace, job_id: str) -> JobT:
        """One job.

        Raises:
            LayerError: NOT_FOUND.
        """
        job = self._jobs.get(job_id)
        if job is None or job.namespace != namespace:
            raise LayerError.not_found(f"namespace {namespace!r} has no {self._kind} {job_id!r}")
        return job

    def list(self, namespace: Namespace) -> Sequence[JobT]:
        """The namespace's jobs, oldest first."""
        return [job for job in self._jobs.values() if job.namespace == namespace]

    def ended(self) -> Sequence[JobT]:
        """The jobs of all namespaces that no longer run, oldest first."""
        return [job for job in self._jobs.values() if not job.is_running]

    def _running(self) -> int:
        return sum(job.is_running for job in self._jobs.values())

    def _settle(self) -> None:
        if not self._running():
            self._idle.set()
