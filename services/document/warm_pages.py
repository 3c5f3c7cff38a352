"""Every document of a namespace, in pages from the upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.core.clock import Clock
from services.core.ids import Namespace
from services.document.rows import last_id, read_rows
from services.upstream.vector_store import UpstreamUnavailableError, VectorStore

__all__ = ["WarmPage", "warm_pages"]

_FIRST_ROWS: Final = 100
_PAGE_BYTES: Final = 4 * 1024 * 1024
"""A page's aim. Whole documents are read, and how large they are only the answers tell."""


@dataclass(frozen=True)
class WarmPage:
    """Rows by their ids in text form, and what is known of when they were read.

    `asked_at`: monotonic seconds. `written_at`: as `Rows`'.
    """

    rows: Mapping[str, bytes]
    last_id: str | int
    asked_at: float
    written_at: str | None


async def warm_pages(
    upstream: VectorStore,
    clock: Clock,
    namespace: Namespace,
    projection: Mapping[str, object],
    *,
    page_size: int,
    after: str | int | None,
) -> AsyncIterator[WarmPage]:
    """The documents behind an id, in the order of ids; pages of `page_size` rows at most.

    Raises:
        NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError: as the port's.
    """
    limit = min(page_size, _FIRST_ROWS)
    while True:
        behind = {} if after is None else {"filters": ["id", "Gt", after]}
        query = {"rank_by": ["id", "asc"], "top_k": limit, **projection, **behind}
        asked_at = clock.monotonic()
        data = await upstream.query(namespace, query)
        answer = read_rows(data)
        rows = answer.by_id
        if rows:
            before, after = after, last_id(rows)
            if after == before:
                raise UpstreamUnavailableError("the upstream's pages do not advance")
            yield WarmPage(rows, after, asked_at, answer.written_at)
        if len(rows) < limit:
            return
        # Twice as many at most: documents that follow may be larger.
        limit = max(1, min(page_size, 2 * limit, limit * _PAGE_BYTES // len(data)))
