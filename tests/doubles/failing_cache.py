"""A cache that is down or slow when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from services.cache.cache import Cache, CacheUnavailableError

__all__ = ["FailingCache"]


class FailingCache:
    """Passes calls through, fails them (`down`, or from call `fail_from` on), or never answers
    them (`stuck`)."""

    def __init__(self, inner: Cache) -> None:
        self.down = False
        self.stuck = False
        self.calls = 0
        self.fail_from: int | None = None
        self._inner = inner

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        await self._disturb()
        return await self._inner.get_many(keys)

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        await self._disturb()
        return await self._inner.put_many(values, ttl_seconds=ttl_seconds)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._disturb()
        await self._inner.delete(keys)

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        await self._disturb()
        return await self._inner.put_member(group, member, value, ttl_seconds=ttl_seconds)

    async def members(self, group: str) -> Mapping[str, bytes]:
        await self._disturb()
        return await self._inner.members(group)

    async def _disturb(self) -> None:
        self.calls += 1
        if self.down or (self.fail_from is not None and self.calls >= self.fail_from):
            raise CacheUnavailableError("cache is down")
        if self.stuck:
            await asyncio.Event().wait()
