"""Warm documents in memory, or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.snapshot.count_warm import WarmScan

__all__ = ["StoredWarmDocuments"]


class StoredWarmDocuments:
    """The rows that a test gives it; cold without any. `lost_after`: pages until one is gone."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]] | None = None,
        types: Mapping[str, str] | None = None,
        *,
        page_size: int = 10,
        stable_as_of_ms: int = 1_700_000_000_000,
    ) -> None:
        self.rows = rows
        self.types = types or {}
        self.page_size = page_size
        self.stable_as_of_ms = stable_as_of_ms
        self.lost_after: int | None = None
        self.closed = 0

    async def open(self, namespace: Namespace) -> WarmScan:
        if self.rows is None:
            raise LayerError(ErrorKind.CACHE_COLD, "not warm")
        return WarmScan(
            len(self.rows), self.stable_as_of_ms, self.types, self._pages(self.rows), self._close
        )

    async def _pages(self, rows: Sequence[Mapping[str, Any]]) -> AsyncIterator[bytes]:
        for number, start in enumerate(range(0, len(rows), self.page_size)):
            if number == self.lost_after:
                raise LayerError(ErrorKind.CACHE_COLD, "a document is gone")
            yield msgspec.json.encode({"rows": rows[start : start + self.page_size]})

    def _close(self) -> None:
        self.closed += 1
