"""Counts from the documents of a warm namespace, which DocumentService reads from its cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.filters.evaluate import matcher, unsupported
from services.filters.parse import parse_filter
from services.snapshot.count_facets import FacetCounter, FacetCounts
from services.snapshot.count_request import Progress, no_progress
from services.snapshot.countable import check_countable

__all__ = ["WarmCount", "WarmDocuments", "WarmScan"]


@dataclass(frozen=True)
class WarmScan:
    """Documents that are about to be read, as answers of queries, without vectors.

    Args:
        stable_as_of_ms: every write before it is in them.
        types: schema types by attribute.
        pages: raises LayerError, CACHE_COLD, when a document turns out to be gone.
        close: ends a scan that is not read to its end.
    """

    documents: int
    stable_as_of_ms: int
    types: Mapping[str, str]
    pages: AsyncIterator[bytes]
    close: Callable[[], None]


class WarmDocuments(Protocol):
    """DocumentService as counting sees it."""

    async def open(self, namespace: Namespace) -> WarmScan:
        """Start reading every document.

        Raises:
            LayerError: CACHE_COLD, the namespace is not warm, or nobody answers.
        """
        ...


class _Rows(msgspec.Struct):
    rows: list[msgspec.Raw]


_rows_decoder = msgspec.json.Decoder(_Rows)


@dataclass(frozen=True)
class WarmCount:
    """A count that can be carried out, or closed."""

    scan: WarmScan
    fields: tuple[str, ...]
    matches: Callable[[Mapping[str, Any]], bool] | None

    @classmethod
    async def prepare(
        cls,
        documents: WarmDocuments,
        namespace: Namespace,
        fields: tuple[str, ...],
        filters: object | None,
    ) -> WarmCount:
        """See that the cache can answer with certainty.

        Raises:
            LayerError: VALIDATION, no such field, a vector, or filters that cannot be evaluated;
                CACHE_COLD.
        """
        scan = await documents.open(namespace)
        try:
            for field in fields:
                check_countable(scan.types.get(field), namespace, field)
            return cls(scan, fields, _matcher(filters, scan.types))
        except BaseException:
            scan.close()
            raise

    async def count(
        self, counter: FacetCounter | None = None, *, on_progress: Progress = no_progress
    ) -> FacetCounts:
        """Count, by a counter of the fields if its caps are not to be those of a body.

        Raises:
            LayerError: CACHE_COLD, a document is gone; and what the counter raises.
        """
        counter = FacetCounter(self.fields) if counter is None else counter
        seen = 0
        try:
            async for page in self.scan.pages:
                # Off the loop, on which other calls are answered.
                seen += await asyncio.to_thread(self._add, counter, page)
                # How many match is known of those that were read.
                on_progress(counter.row_count, self.scan.documents - seen + counter.row_count)
        finally:
            self.scan.close()
        if seen != self.scan.documents:
            raise LayerError(ErrorKind.CACHE_COLD, "the cache broke off; use source origin")
        return await asyncio.to_thread(counter.result)

    def _add(self, counter: FacetCounter, page: bytes) -> int:
        """Count the documents of a page that match; how many it has."""
        rows = _rows_decoder.decode(page).rows
        if self.matches is not None:
            kept = [bytes(row) for row in rows if self.matches(msgspec.json.decode(row))]
            page = b'{"rows":[' + b",".join(kept) + b"]}"
        counter.add_page(page)
        return len(rows)


def _matcher(
    filters: object | None, types: Mapping[str, str]
) -> Callable[[Mapping[str, Any]], bool] | None:
    if filters is None:
        return None
    tree = parse_filter(filters)
    path = unsupported(tree, types)
    if path is not None:
        raise LayerError.validation(f"{path}: the cache cannot evaluate this; use source origin")
    return matcher(tree)
