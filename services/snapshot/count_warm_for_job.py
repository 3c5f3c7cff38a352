"""A job's count from the warm document cache, with its progress in the book."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.core.job_book import JobBook
from services.snapshot.count_facets import FacetCounter, FacetCounts
from services.snapshot.count_for_job import CountJobT
from services.snapshot.count_warm import WarmCount, WarmDocuments

__all__ = ["WarmCountForJob", "closed_if_refused"]

_logger = logging.getLogger(__name__)


class WarmCountForJob(Generic[CountJobT]):
    """Counts one field for a job of the book.

    Args:
        new_counter: makes the counter of a field.
    """

    def __init__(
        self,
        jobs: JobBook[CountJobT],
        documents: WarmDocuments,
        new_counter: Callable[[str], FacetCounter] = lambda field: FacetCounter([field]),
    ) -> None:
        self._jobs = jobs
        self._documents = documents
        self._new_counter = new_counter

    async def prepare(self, namespace: Namespace, field: str, filters: object | None) -> WarmCount:
        """See that the cache can answer with certainty. What is prepared is counted or closed.

        Raises:
            LayerError: as `WarmCount.prepare`.
        """
        return await WarmCount.prepare(self._documents, namespace, (field,), filters)

    async def __call__(self, job: CountJobT, warm: WarmCount) -> tuple[FacetCounts, int]:
        """The counts and their watermark in epoch milliseconds.

        Raises:
            LayerError: as `WarmCount.count`.
        """

        def advance(documents: int, expected: int | None) -> None:
            current = self._jobs.get(job.namespace, job.id)
            self._jobs.update(current.advanced(documents, expected or documents))

        counts = await warm.count(self._new_counter(job.field), on_progress=advance)
        return counts, warm.scan.stable_as_of_ms

    async def if_warm(
        self, job: CountJobT, filters: object | None
    ) -> tuple[FacetCounts, int] | None:
        """The same for a job that has other sources; None where the cache is cold or not certain.

        Raises:
            LayerError: VALIDATION, what the counter raises; no other source would do better.
        """
        try:
            warm = await self.prepare(job.namespace, job.field, filters)
        except LayerError as error:
            # Cold, or it does not know the field or the filters: the origin may.
            _logger.info("not counted from the cache", extra={"cause": error.message})
            return None
        try:
            return await self(job, warm)
        except LayerError as error:
            if error.kind is not ErrorKind.CACHE_COLD:
                raise
            _logger.info("not counted from the cache", extra={"cause": error.message})
            return None


@contextmanager
def closed_if_refused(warm: WarmCount | None) -> Iterator[None]:
    """Close what was prepared for a job that cannot be started."""
    try:
        yield
    except LayerError:
        if warm is not None:
            warm.scan.close()
        raise
