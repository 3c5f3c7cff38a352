"""An object store whose user dies after so many writes."""

from __future__ import annotations

from collections.abc import Sequence

from services.storage.object_store import ObjectStore, StoreUnavailableError

__all__ = ["StoppingObjectStore"]


class StoppingObjectStore:
    """Lets `writes` puts and deletes through; every one after them fails without an effect."""

    def __init__(self, inner: ObjectStore, writes: int) -> None:
        self.stopped = False
        self._inner = inner
        self._left = writes

    async def get(self, key: str) -> bytes | None:
        return await self._inner.get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        self._count()
        return await self._inner.put(key, body, if_absent=if_absent)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self._inner.list(prefix, start_after=start_after, limit=limit)

    async def list_children(self, prefix: str) -> Sequence[str]:
        return await self._inner.list_children(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        self._count()
        await self._inner.delete(keys)

    def _count(self) -> None:
        if self._left == 0:
            self.stopped = True
            raise StoreUnavailableError("the store has stopped")
        self._left -= 1
