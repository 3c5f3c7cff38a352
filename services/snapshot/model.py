"""Snapshot jobs and what is asked of them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from services.core.ids import Namespace
from services.core.job_book import JobStatus
from services.formats.snapshot_body import ValueCount

__all__ = ["CountJob", "ScanJob", "SnapshotJob", "SnapshotRequest", "Source"]


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
class CountJob:
    """One count of a field, as it stands. Times are epoch milliseconds."""

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
    stable_as_of_ms: int | None = None
    error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.status is JobStatus.RUNNING

    def advanced(self, documents_scanned: int, expected: int) -> Self:
        """The job further on; progress never goes back and is 1 only when it is done."""
        share = documents_scanned / expected if expected else 0.0
        return replace(
            self,
            documents_scanned=documents_scanned,
            progress=max(self.progress, min(share, 0.99)),
        )

    def completed(
        self, now_ms: int, source: Source, stable_as_of_ms: int, documents_scanned: int
    ) -> Self:
        """The job as completed."""
        return replace(
            self,
            status=JobStatus.COMPLETED,
            progress=1.0,
            documents_scanned=documents_scanned,
            completed_at_ms=now_ms,
            effective_source=source,
            stable_as_of_ms=stable_as_of_ms,
        )

    def failed(self, now_ms: int, error: str) -> Self:
        """The job as failed."""
        return replace(self, status=JobStatus.FAILED, completed_at_ms=now_ms, error=error)


@dataclass(frozen=True)
class SnapshotJob(CountJob):
    """A count that becomes a body."""

    sha: str | None = None


@dataclass(frozen=True)
class ScanJob(CountJob):
    """A count of all values, which the job itself keeps."""

    unique_values: int | None = None
    values: Sequence[ValueCount] = ()

    @property
    def is_truncated(self) -> bool:
        """Whether values with smaller counts were dropped."""
        return self.unique_values is not None and self.unique_values > len(self.values)
