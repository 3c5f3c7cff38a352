"""Counting by reading every row of the upstream, several ranges at a time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.formats.snapshot_body import FIELD_CAP
from services.snapshot.count_facets import FacetCounter, FacetCounts, Page
from services.snapshot.count_request import CountRequest, Progress, no_progress
from services.snapshot.id_ranges import IdRange
from services.upstream.vector_store import (
    UpstreamRejectedError,
    UpstreamUnavailableError,
    VectorStore,
)

__all__ = ["SHARD_ATTRIBUTE", "OriginScan"]

SHARD_ATTRIBUTE: Final = "_hevlayer_shard"
"""A reserved integer that spreads documents evenly, where the namespace's writers set it."""

MAX_THREADS: Final = 32
_RANGES_A_THREAD: Final = 2
_logger = logging.getLogger(__name__)


class OriginScan:
    """Turbopuffer's export recipe, `rank_by id`, `id > last`, until a page is short
    (turbopuffer.com/docs/export), over ranges that are read at the same time.

    The ranges are conditions that exclude each other, so each document is counted once. Where
    ids turn out to be in another order than the ranges were made in, all is read again as one.
    Writes during the scan may or may not be counted.

    Args:
        field_cap, refuse_over_cap: as `FacetCounter`'s.
    """

    def __init__(
        self, upstream: VectorStore, *, field_cap: int = FIELD_CAP, refuse_over_cap: bool = False
    ) -> None:
        self._upstream = upstream
        self._field_cap = field_cap
        self._refuse_over_cap = refuse_over_cap

    async def count(
        self, request: CountRequest, *, on_progress: Progress = no_progress
    ) -> FacetCounts:
        """Exact counts of the fields, only those requested of the upstream.

        Raises:
            LayerError: VALIDATION, a field has more values than the cap, if that is to be refused.
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError: as the port's.
        """
        threads = _threads(request)
        try:
            return await self._run(request, threads, on_progress)
        except _OrderUnknownError:
            _logger.info("ids are in an order of their own", extra={"namespace": request.namespace})
            return await self._run(request, 1, on_progress)

    async def _run(self, request: CountRequest, threads: int, on_progress: Progress) -> FacetCounts:
        counter = FacetCounter(
            request.fields, cap=self._field_cap, refuse_over_cap=self._refuse_over_cap
        )
        run = _Run(self._upstream, request, counter, threads, on_progress)
        await run.read_all()
        return counter.result()


def _threads(request: CountRequest) -> int:
    """No more ranges than there are pages: every query is billed, an empty one too. A small
    fresh namespace says that it has 0 rows, which is no number to go by."""
    threads = max(1, min(request.scan_threads, MAX_THREADS))
    rows = request.metadata.approx_row_count
    return min(threads, math.ceil(rows / request.page_size)) if rows > 0 else threads


class _OrderUnknownError(Exception):
    """A page holds ids that are not in its range, by the order that the ranges were made in."""


class _Run:
    """One scan. There is one counter: counting holds the interpreter, so that several would be no
    faster, and would keep a value as often as there are threads."""

    def __init__(
        self,
        upstream: VectorStore,
        request: CountRequest,
        counter: FacetCounter,
        threads: int,
        on_progress: Progress,
    ) -> None:
        self._upstream = upstream
        self._request = request
        self._counter = counter
        self._counting = asyncio.Lock()
        self._threads = threads
        self._on_progress = on_progress
        self._highest_id: str | int | None = None
        self._attributes = [name for name in request.fields if name != "id"]

    async def read_all(self) -> None:
        """Read the first page, and if there is more, divide it. Each task reads a page of one
        range and answers with what is left of it; threads without a range take a share of that."""
        rest = await self._read(IdRange())
        waiting = deque(await self._divided(rest)) if rest else deque()
        reading: set[asyncio.Task[IdRange | None]] = set()
        try:
            while waiting or reading:
                while waiting and len(reading) < self._threads:
                    reading.add(asyncio.create_task(self._read(waiting.popleft())))
                done, running = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    rest = task.result()
                    if rest is not None:
                        waiting.extend(self._shared(rest, len(waiting) + len(running)))
                reading = running
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, part: IdRange) -> IdRange | None:
        """Count the range's next page. What is left of the range, if anything may be."""
        data = await self._query(
            part.conditions(),
            {
                "rank_by": ["id", "asc"],
                "top_k": self._request.page_size,
                "include_attributes": self._attributes,
            },
        )
        async with self._counting:
            try:
                # Off the loop: a page of 10,000 rows takes milliseconds that other calls wait for.
                page = await asyncio.to_thread(self._counter.add_page, data)
            except msgspec.DecodeError as error:
                raise UpstreamUnavailableError("the upstream's answer has no rows") from error
        self._on_progress(self._counter.row_count, None)
        self._check_order(part, page)
        if page.rows < self._request.page_size:
            return None
        if page.last_id == part.after:
            raise UpstreamUnavailableError("the upstream's pages do not advance")
        return IdRange(part.low, part.end, page.last_id, part.within)

    def _check_order(self, part: IdRange, page: Page) -> None:
        if self._threads == 1 or page.first_id is None or page.last_id is None:
            return
        if not page.is_ascending or not part.holds(page.first_id, page.last_id):
            raise _OrderUnknownError

    def _shared(self, rest: IdRange, busy: int) -> Sequence[IdRange]:
        """A range, in parts where threads would have nothing to do."""
        idle = self._threads - busy
        if idle < 2 or self._highest_id is None:
            return [rest]
        return rest.split(idle, self._highest_id, self._request.page_size)

    async def _divided(self, rest: IdRange) -> Sequence[IdRange]:
        """What follows the first page: by shard where there are shards, else by id."""
        if self._threads == 1:
            return [rest]
        by_shard = await self._by_shard(rest)
        if by_shard:
            return by_shard
        highest = await self._end_of("id", "desc", rest.conditions())
        if isinstance(highest, str | int):
            self._highest_id = highest
        return self._shared(rest, 0)

    async def _by_shard(self, rest: IdRange) -> Sequence[IdRange]:
        """Ranges of the shard attribute, and the documents without it; empty if it divides
        nothing."""
        if self._request.metadata.attribute_type(SHARD_ATTRIBUTE) not in ("int", "uint"):
            return []
        has_shard = [SHARD_ATTRIBUTE, "NotEq", None]
        conditions = (*rest.conditions(), has_shard)
        low = await self._end_of(SHARD_ATTRIBUTE, "asc", conditions)
        high = await self._end_of(SHARD_ATTRIBUTE, "desc", conditions)
        if not isinstance(low, int) or not isinstance(high, int) or low >= high:
            return []
        count = min(high - low + 1, self._threads * _RANGES_A_THREAD)
        bounds = [low + (high - low + 1) * at // count for at in range(1, count)]
        # `Lt` matches null as well, so each range says that it wants none.
        parts = [
            (has_shard, *_between(start, end))
            for start, end in zip([None, *bounds], [*bounds, None], strict=True)
        ]
        parts.append(([SHARD_ATTRIBUTE, "Eq", None],))
        return [IdRange(rest.low, rest.end, rest.after, within) for within in parts]

    async def _end_of(
        self, attribute: str, direction: str, conditions: Sequence[object]
    ) -> object | None:
        """The first value in that direction; None where there is none, or the upstream refuses to
        order by it."""
        query = {"rank_by": [attribute, direction], "top_k": 1, "include_attributes": []}
        if attribute != "id":
            query["include_attributes"] = [attribute]
        try:
            rows = _rows_decoder.decode(await self._query(conditions, query)).rows
        except (UpstreamRejectedError, msgspec.DecodeError):
            return None
        return rows[0].get(attribute) if rows else None

    async def _query(self, conditions: Sequence[object], query: Mapping[str, object]) -> bytes:
        filters = self._request.narrowed(*conditions)
        return await self._upstream.query(self._request.namespace, {**query, **filters})


class _Rows(msgspec.Struct):
    rows: list[dict[str, Any]]


_rows_decoder = msgspec.json.Decoder(_Rows)


def _between(start: int | None, end: int | None) -> Sequence[object]:
    """Conditions for shards from start up to end."""
    lower = [] if start is None else [[SHARD_ATTRIBUTE, "Gte", start]]
    upper = [] if end is None else [[SHARD_ATTRIBUTE, "Lt", end]]
    return [*lower, *upper]
