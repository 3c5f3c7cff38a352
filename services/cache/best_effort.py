"""A cache that may be down without its users noticing more than misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from services.cache.cache import CacheUnavailableError
from services.cache.guarded import GuardedCache

__all__ = ["BestEffortCache"]


class BestEffortCache:
    """Turns failures of a cache into misses: reads find nothing, writes are not kept.

    A delete can be lost as well, so use it for values that are right for as long as they
    live. Never raises `CacheUnavailableError`.
    """

    def __init__(self, inner: GuardedCache) -> None:
        self._inner = inner

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        try:
            return await self._inner.get_many(keys)
        except CacheUnavailableError:
            return {}

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        try:
            return await self._inner.put_many(values, ttl_seconds=ttl_seconds)
        except CacheUnavailableError:
            return 0

    async def delete(self, keys: Sequence[str]) -> None:
        with suppress(CacheUnavailableError):
            await self._inner.delete(keys)

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        try:
            return await self._inner.put_member(group, member, value, ttl_seconds=ttl_seconds)
        except CacheUnavailableError:
            return False

    async def members(self, group: str) -> Mapping[str, bytes]:
        try:
            return await self._inner.members(group)
        except CacheUnavailableError:
            return {}
