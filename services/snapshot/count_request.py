"""What is to be counted at the origin, and how the ways of counting put their queries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.core.ids import Namespace
from services.indexes.policy import DEFAULT_SCAN_THREADS
from services.upstream.vector_store import NamespaceMetadata

__all__ = ["ORIGIN_PAGE_SIZE", "CountRequest", "Progress", "no_progress"]

ORIGIN_PAGE_SIZE: Final = 10_000
"""Most rows, and most groups, that a query may ask for (turbopuffer.com/docs/limits)."""

Progress = Callable[[int, int | None], None]
"""Is told the documents counted so far and, once it is known, how many there are."""


def no_progress(_documents: int, _expected: int | None) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class CountRequest:
    """Which fields of which documents. `metadata` is the namespace's, read before counting."""

    namespace: Namespace
    fields: tuple[str, ...]
    metadata: NamespaceMetadata
    filters: object | None = None
    page_size: int = ORIGIN_PAGE_SIZE
    scan_threads: int = DEFAULT_SCAN_THREADS

    def narrowed(self, *conditions: object) -> dict[str, object]:
        """`filters` of a query for those of the documents that meet the conditions as well."""
        parts = [self.filters, *conditions] if self.filters is not None else list(conditions)
        if not parts:
            return {}
        return {"filters": parts[0] if len(parts) == 1 else ["And", parts]}
