"""Counts from the documents of a warm namespace, which DocumentService reads from its cache."""

from __future__ import annotations

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
from services.upstream.vector_store import is_vector

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
    """A count of one field that can be carried out."""

    scan: WarmScan
    field: str
    matches: Callable[[Mapping[str, Any]], bool] | None

    @classmethod
    async def prepare(
        cls, documents: WarmDocuments, namespace: Namespace, field: str, filters: object | None
    ) -> WarmCount:
        """See that the cache can answer with certainty.

        Raises:
            LayerError: VALIDATION, no such field, a vector, or filters that cannot be evaluated;
                CACHE_COLD.
        """
        scan = await documents.open(namespace)
        try:
            _check_field(scan.types, namespace, field)
            return cls(scan, field, _matcher(filters, scan.types))
        except BaseException:
            scan.close()
            raise

    async def count(self, *, on_progress: Progress = no_progress) -> FacetCounts:
        """Count.

        Raises:
            LayerError: CACHE_COLD, a document is gone.
        """
        counter = FacetCounter([self.field])
        seen = 0
        try:
            async for page in self.scan.pages:
                rows = _rows_decoder.decode(page).rows
                seen += len(rows)
                counter.add_page(page if self.matches is None else self._matching(rows))
                on_progress(seen, self.scan.documents)
        finally:
            self.scan.close()
        if seen != self.scan.documents:
            raise LayerError(ErrorKind.CACHE_COLD, "the cache broke off; use source origin")
        return counter.result()

    def _matching(self, rows: list[msgspec.Raw]) -> bytes:
        assert self.matches is not None
        kept = [bytes(row) for row in rows if self.matches(msgspec.json.decode(row))]
        return b'{"rows":[' + b",".join(kept) + b"]}"


def _check_field(types: Mapping[str, str], namespace: Namespace, field: str) -> None:
    if field == "id":
        return
    if field not in types:
        raise LayerError.validation(f"namespace {namespace!r} has no attribute {field!r}")
    if is_vector(types[field]):
        raise LayerError.validation(f"{field!r} is a vector; it has no facets")


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
