"""Snapshot jobs and what is asked of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Self

from services.core.ids import Namespace
from services.core.job_book import JobStatus

__all__ = ["SnapshotJob", "SnapshotRequest", "Source"]


class Source(enum.StrEnum):
    """Where a histogram is read."""

    AUTO = "auto"
    STORED = "stored"
    CACHE = "cache"
    ORIGIN = "origin"


@dataclass(frozen=True)
class SnapshotRequest:
    """A checked request for the histogram of one field."""

    namespace: Namespace
    field: str
    source: Source
    filters: object | None
    page_size: int


@dataclass(frozen=True)
class SnapshotJob:
    """One computation, as it stands. Times are epoch milliseconds."""

    id: str
    namespace: Namespace
    field: str
    source: Source
    created_at_ms: int
    status: JobStatus = JobStatus.RUNNING
    progress: float = 0.0
    documents_scanned: int = 0
    completed_at_ms: int | None = None
    effective_source: Source | None = None
    sha: str | None = None
    stable_as_of_ms: int | None = None
    error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status is JobStatus.RUNNING

    def advanced(self, documents_scanned: int, expected: int) -> SnapshotJob:
        """The job further on; nothing goes back, and progress is 1 only when it is done."""
        share = documents_scanned / expected if expected else 0.0
        return replace(
            self,
            documents_scanned=max(self.documents_scanned, documents_scanned),
            progress=max(self.progress, min(share, 0.99)),
        )

    def completed(
        self, now_ms: int, source: Source, sha: str, stable_as_of_ms: int, documents_scanned: int
    ) -> SnapshotJob:
        return replace(
            self,
            status=JobStatus.COMPLETED,
            progress=1.0,
            documents_scanned=documents_scanned,
            completed_at_ms=now_ms,
            effective_source=source,
            sha=sha,
            stable_as_of_ms=stable_as_of_ms,
        )

    def failed(self, now_ms: int, error: str) -> Self:
        return replace(self, status=JobStatus.FAILED, completed_at_ms=now_ms, error=error)
