"""An object store whose calls wait until a test lets them go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.storage.object_store import ObjectStore

__all__ = ["GatedObjectStore"]


class GatedObjectStore:
    """Holds the named methods' calls (`put`, `get`, ...) before their effect while it is shut.

    It starts open. `arrived(n)` waits until n calls stand at the gate.
    """

    def __init__(self, inner: ObjectStore, *, methods: frozenset[str] = frozenset({"put"})) -> None:
        self.waiting = 0
        self._inner = inner
        self._methods = methods
        self._open = asyncio.Event()
        self._open.set()
        self._changed = asyncio.Condition()

    def shut(self) -> None:
        self._open.clear()

    def release(self) -> None:
        """Let the waiting calls and all later ones through."""
        self._open.set()

    async def arrived(self, count: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.waiting >= count)

    async def get(self, key: str) -> bytes | None:
        await self._pass("get")
        return await self._inner.get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        await self._pass("put")
        return await self._inner.put(key, body, if_absent=if_absent)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        await self._pass("list")
        return await self._inner.list(prefix, start_after=start_after, limit=limit)

    async def list_children(self, prefix: str) -> Sequence[str]:
        await self._pass("list_children")
        return await self._inner.list_children(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._pass("delete")
        await self._inner.delete(keys)

    async def _pass(self, method: str) -> None:
        if method not in self._methods or self._open.is_set():
            return
        async with self._changed:
            self.waiting += 1
            self._changed.notify_all()
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1
