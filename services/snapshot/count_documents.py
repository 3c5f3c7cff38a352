"""`POST /scans` with mode `count`: how many documents there are."""

from __future__ import annotations

from dataclasses import dataclass

from services.archive.read_snapshots import SnapshotReader
from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_request import CountRequest
from services.snapshot.countable import check_source, refuse_cache
from services.snapshot.model import Source
from services.snapshot.watermarks import Watermarks

__all__ = ["CountDocuments", "DocumentCount"]


@dataclass(frozen=True)
class DocumentCount:
    """A count, what answered it, and as of when (epoch milliseconds)."""

    count: int
    served_by: Source
    watermark_ms: int
    elapsed_ms: int
    snapshot_sha: str | None = None


class CountDocuments:
    """From the newest body where one answers, else by the upstream."""

    def __init__(
        self, reader: SnapshotReader, watermarks: Watermarks, origin: OriginCount, clock: Clock
    ) -> None:
        self._reader = reader
        self._watermarks = watermarks
        self._origin = origin
        self._clock = clock

    async def __call__(
        self, namespace: Namespace, source: Source, filters: object | None
    ) -> DocumentCount:
        """Count.

        Raises:
            LayerError: VALIDATION, filters with source `stored`; CACHE_COLD; NOT_FOUND, source
                `stored` without a body; UNAVAILABLE, no watermark; UPSTREAM.
        """
        check_source(source, filters)
        refuse_cache(source)
        started = self._clock.monotonic()

        def elapsed_ms() -> int:
            return round((self._clock.monotonic() - started) * 1000)

        if source is not Source.ORIGIN and filters is None:
            body = await self._reader.newest_body(namespace)
            if body is not None and body.row_count is not None:
                return DocumentCount(
                    body.row_count, Source.STORED, body.watermark_ms, elapsed_ms(), body.sha
                )
            if source is Source.STORED:
                raise LayerError.not_found(
                    f"no stored snapshot of {namespace!r} has a row count; use source origin"
                )
        metadata, watermark_ms = await self._watermarks.fresh(namespace)
        counts = await self._origin.count(CountRequest(namespace, (), metadata, filters))
        return DocumentCount(counts.row_count, Source.ORIGIN, watermark_ms, elapsed_ms())
