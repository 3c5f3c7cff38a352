"""A job's count at the origin: as of a fresh watermark, with its progress in the book."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from services.core.ids import Namespace
from services.core.job_book import JobBook
from services.snapshot.count_facets import FacetCounts
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_request import CountRequest
from services.snapshot.countable import check_countable
from services.snapshot.model import CountJob
from services.snapshot.watermarks import Watermarks

__all__ = ["CountForJob"]

CountJobT = TypeVar("CountJobT", bound=CountJob)


class CountForJob(Generic[CountJobT]):
    """Counts one field for a job of the book."""

    def __init__(
        self,
        jobs: JobBook[CountJobT],
        watermarks: Watermarks,
        origin: OriginCount,
        scan_threads: Callable[[Namespace], int],
    ) -> None:
        self._jobs = jobs
        self._watermarks = watermarks
        self._origin = origin
        self._scan_threads = scan_threads

    async def __call__(
        self,
        job: CountJobT,
        *,
        filters: object | None,
        page_size: int,
        threads: int | None = None,
    ) -> tuple[FacetCounts, int]:
        """The counts and their watermark in epoch milliseconds. `threads` of None are those of
        the namespace's policy.

        Raises:
            LayerError: VALIDATION, the field cannot be counted; UNAVAILABLE, no watermark; and
                as `OriginCount.count`.
        """
        metadata, watermark_ms = await self._watermarks.fresh(job.namespace)
        check_countable(metadata.attribute_type(job.field), job.namespace, job.field)

        def advance(documents: int, expected: int | None) -> None:
            known = metadata.approx_row_count if expected is None else expected
            current = self._jobs.get(job.namespace, job.id)
            self._jobs.update(current.advanced(documents, known))

        request = CountRequest(
            job.namespace,
            (job.field,),
            metadata,
            filters,
            page_size,
            threads or self._scan_threads(job.namespace),
        )
        return await self._origin.count(request, on_progress=advance), watermark_ms
