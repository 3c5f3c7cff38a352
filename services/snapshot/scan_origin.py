"""Counting by reading every row of the upstream, in pages in id order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from services.core.ids import Namespace
from services.snapshot.count_facets import FacetCounter, FacetCounts
from services.upstream.vector_store import UpstreamUnavailableError, VectorStore

__all__ = ["OriginScan"]


class OriginScan:
    """Turbopuffer's export recipe: `rank_by id`, `id > last`, until a page is short
    (turbopuffer.com/docs/export). Writes during the scan may or may not be counted."""

    def __init__(self, upstream: VectorStore) -> None:
        self._upstream = upstream

    async def count(
        self,
        namespace: Namespace,
        fields: Sequence[str],
        *,
        filters: object | None = None,
        page_size: int,
        on_progress: Callable[[int], None] = lambda _documents: None,
    ) -> FacetCounts:
        """Exact counts of `fields`, only those requested of the upstream.

        Raises:
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError: as the port's.
        """
        counter = FacetCounter(fields)
        attributes = [name for name in fields if name != "id"]
        last_id: str | int | None = None
        while True:
            data = await self._upstream.query(
                namespace,
                {
                    "rank_by": ["id", "asc"],
                    "top_k": page_size,
                    "include_attributes": attributes,
                    **_filtered(filters, last_id),
                },
            )
            try:
                # Off the loop: a page of 10,000 rows takes milliseconds that other calls wait for.
                rows, last_id = await asyncio.to_thread(counter.add_page, data)
            except msgspec.DecodeError as error:
                raise UpstreamUnavailableError("the upstream's answer has no rows") from error
            on_progress(counter.row_count)
            if rows < page_size:
                return counter.result()


def _filtered(filters: object | None, last_id: str | int | None) -> dict[str, object]:
    """The caller's filters and the place in the scan, as `filters` of a query."""
    parts = [filters] if filters is not None else []
    if last_id is not None:
        parts.append(["id", "Gt", last_id])
    if not parts:
        return {}
    return {"filters": parts[0] if len(parts) == 1 else ["And", parts]}
