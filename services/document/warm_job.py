"""Warm jobs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from services.core.ids import Namespace
from services.core.job_book import JobStatus

__all__ = ["WarmJob"]


@dataclass(frozen=True)
class WarmJob:
    """One run over a namespace, as it stands. Times are epoch milliseconds."""

    id: str
    namespace: Namespace
    created_at_ms: int
    status: JobStatus = JobStatus.RUNNING
    progress: float = 0.0
    documents_scanned: int = 0
    documents_resumed: int = 0
    """Of those, documents that an earlier job had cached."""
    completed_at_ms: int | None = None
    stable_as_of_ms: int | None = None
    error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status is JobStatus.RUNNING

    def going_on(self, documents: int) -> WarmJob:
        """The job with what an earlier one had done."""
        return replace(self, documents_scanned=documents, documents_resumed=documents)

    def advanced(self, documents_scanned: int, expected: int) -> WarmJob:
        """The job further on; progress is 1 only when it is done."""
        share = documents_scanned / expected if expected else 0.0
        return replace(
            self,
            documents_scanned=documents_scanned,
            progress=max(self.progress, min(share, 0.99)),
        )

    def completed(self, now_ms: int, stable_as_of_ms: int) -> WarmJob:
        return replace(
            self,
            status=JobStatus.COMPLETED,
            progress=1.0,
            completed_at_ms=now_ms,
            stable_as_of_ms=stable_as_of_ms,
        )

    def failed(self, now_ms: int, error: str) -> Self:
        return replace(self, status=JobStatus.FAILED, completed_at_ms=now_ms, error=error)
