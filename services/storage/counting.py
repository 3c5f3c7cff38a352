"""Counting requests: what a test may assert, and what a bill is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.storage.object_store import ObjectStore

__all__ = ["CountingObjectStore", "RequestCounts"]

_KEYS_PER_DELETE = 1000


@dataclass
class RequestCounts:
    """Requests sent, whatever came of them."""

    get: int = 0
    put: int = 0
    list: int = 0
    list_children: int = 0
    """Calls; S3 needs one request more for every 1,000 children."""
    delete: int = 0
    """Requests of up to 1,000 keys."""


class CountingObjectStore:
    """Counts what passes through; put it under the retries to count those too."""

    def __init__(self, inner: ObjectStore) -> None:
        self.counts = RequestCounts()
        self._inner = inner

    async def get(self, key: str) -> bytes | None:
        self.counts.get += 1
        return await self._inner.get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        self.counts.put += 1
        return await self._inner.put(key, body, if_absent=if_absent)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        self.counts.list += 1
        return await self._inner.list(prefix, start_after=start_after, limit=limit)

    async def list_children(self, prefix: str) -> Sequence[str]:
        self.counts.list_children += 1
        return await self._inner.list_children(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        self.counts.delete += -(-len(keys) // _KEYS_PER_DELETE)
        await self._inner.delete(keys)
