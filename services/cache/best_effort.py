"""A cache that may be down without its users noticing more than misses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock

__all__ = ["BestEffortCache", "BestEffortCounts", "BestEffortPolicy"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class BestEffortPolicy:
    """How much patience a cache is worth."""

    call_timeout_seconds: float = 0.2
    failures_to_open: int = 5
    """Failures in a row after which the cache is left alone."""
    open_seconds: float = 5.0
    """For how long, before one call is let through to see."""


@dataclass
class BestEffortCounts:
    """Calls that did not reach the cache or got no answer, since it was made."""

    errors: int = 0
    timeouts: int = 0
    skipped: int = 0
    """Not tried, since the calls before had failed."""


class BestEffortCache:
    """Turns failures of a cache into misses: reads find nothing, writes are not kept.

    A delete can be lost as well, so use it for values that are right for as long as they
    live. Never raises `CacheUnavailableError`.
    """

    def __init__(
        self, inner: Cache, *, clock: Clock, policy: BestEffortPolicy | None = None
    ) -> None:
        self.counts = BestEffortCounts()
        self._inner = inner
        self._clock = clock
        self._policy = policy or BestEffortPolicy()
        self._failures = 0
        self._skip_until = 0.0

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        nothing: Mapping[str, bytes] = {}
        return await self._tried(lambda: self._inner.get_many(keys), nothing)

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        return await self._tried(lambda: self._inner.put_many(values, ttl_seconds=ttl_seconds), 0)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._tried(lambda: self._inner.delete(keys), None)

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        return await self._tried(
            lambda: self._inner.put_member(group, member, value, ttl_seconds=ttl_seconds), False
        )

    async def members(self, group: str) -> Mapping[str, bytes]:
        nothing: Mapping[str, bytes] = {}
        return await self._tried(lambda: self._inner.members(group), nothing)

    async def _tried(self, call: Callable[[], Awaitable[_T]], otherwise: _T) -> _T:
        if self._leave_alone():
            self.counts.skipped += 1
            return otherwise
        try:
            async with asyncio.timeout(self._policy.call_timeout_seconds):
                answer = await call()
        except CacheUnavailableError:
            self.counts.errors += 1
            self._failed()
            return otherwise
        except TimeoutError:
            self.counts.timeouts += 1
            self._failed()
            return otherwise
        self._failures = 0
        return answer

    def _leave_alone(self) -> bool:
        if self._failures < self._policy.failures_to_open:
            return False
        if self._clock.monotonic() < self._skip_until:
            return True
        # This call is the one that sees; those beside it are still skipped.
        self._skip_until = self._clock.monotonic() + self._policy.open_seconds
        return False

    def _failed(self) -> None:
        self._failures += 1
        self._skip_until = self._clock.monotonic() + self._policy.open_seconds
