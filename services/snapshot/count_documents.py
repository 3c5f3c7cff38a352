"""`POST /scans` with mode `count`: how many documents there are."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Final

from services.archive.read_snapshots import SnapshotReader
from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_request import CountRequest
from services.snapshot.count_warm import WarmCount, WarmDocuments
from services.snapshot.countable import check_source
from services.snapshot.model import Source
from services.snapshot.watermarks import Watermarks

__all__ = ["CountDocuments", "DocumentCount"]

_logger = logging.getLogger(__name__)

READ_BY_AUTO: Final = 500_000
"""Documents that `auto` reads from the cache to apply filters, some seconds' worth: the caller
waits, and the origin applies them without reading documents."""


@dataclass(frozen=True)
class DocumentCount:
    """A count, what answered it, and as of when (epoch milliseconds)."""

    count: int
    served_by: Source
    watermark_ms: int
    snapshot_sha: str | None = None
    elapsed_ms: int = 0


class CountDocuments:
    """From the newest body where one answers, else from a warm cache, else by the upstream."""

    def __init__(
        self,
        reader: SnapshotReader,
        documents: WarmDocuments,
        watermarks: Watermarks,
        origin: OriginCount,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._documents = documents
        self._watermarks = watermarks
        self._origin = origin
        self._clock = clock

    async def __call__(
        self, namespace: Namespace, source: Source, filters: object | None
    ) -> DocumentCount:
        """Count.

        Raises:
            LayerError: VALIDATION, filters that the source cannot apply; CACHE_COLD; NOT_FOUND,
                source `stored` without a body; UNAVAILABLE, no watermark; UPSTREAM.
        """
        check_source(source, filters)
        started = self._clock.monotonic()
        counted = await self._counted(namespace, source, filters)
        return replace(counted, elapsed_ms=round((self._clock.monotonic() - started) * 1000))

    async def _counted(
        self, namespace: Namespace, source: Source, filters: object | None
    ) -> DocumentCount:
        if source in (Source.STORED, Source.AUTO) and filters is None:
            body = await self._reader.newest_body(namespace)
            if body is not None and body.row_count is not None:
                return DocumentCount(body.row_count, Source.STORED, body.watermark_ms, body.sha)
            if source is Source.STORED:
                raise LayerError.not_found(
                    f"no stored snapshot of {namespace!r} has a row count; use source origin"
                )
        if source is Source.CACHE:
            return await _read(await self._warm(namespace, filters), filters)
        if source is Source.AUTO:
            try:
                warm = await self._warm(namespace, filters)
                if filters is None or warm.scan.documents <= READ_BY_AUTO:
                    return await _read(warm, filters)
                warm.scan.close()
            except LayerError as error:
                # Cold, or not certain: the origin knows.
                _logger.info("not counted from the cache", extra={"cause": error.message})
        metadata, watermark_ms = await self._watermarks.fresh(namespace)
        counts = await self._origin.count(CountRequest(namespace, (), metadata, filters))
        return DocumentCount(counts.row_count, Source.ORIGIN, watermark_ms)

    async def _warm(self, namespace: Namespace, filters: object | None) -> WarmCount:
        return await WarmCount.prepare(self._documents, namespace, (), filters)


async def _read(warm: WarmCount, filters: object | None) -> DocumentCount:
    """A warm cache knows how many documents it has; with filters they are read."""
    if filters is None:
        warm.scan.close()
        count = warm.scan.documents
    else:
        count = (await warm.count()).row_count
    return DocumentCount(count, Source.CACHE, warm.scan.stable_as_of_ms)
