"""A cache that is given little time and, while it keeps failing, none."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock

__all__ = ["GuardCounts", "GuardPolicy", "GuardedCache"]

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class GuardPolicy:
    """How much patience a cache is worth."""

    call_timeout_seconds: float = 0.2
    failures_to_open: int = 5
    """Failures in a row after which the cache is left alone."""
    open_seconds: float = 5.0
    """For how long, before one call is let through to see."""


@dataclass
class GuardCounts:
    """Calls that did not reach the cache or got no answer, since it was made."""

    errors: int = 0
    timeouts: int = 0
    skipped: int = 0
    """Not tried, since the calls before had failed."""


class GuardedCache:
    """Fails calls that take too long, and calls after too many failures without trying.

    Every failure is a `CacheUnavailableError`. What timed out may still take effect later.
    Callers go on without the cache, so the log is where its loss shows.
    """

    def __init__(self, inner: Cache, *, clock: Clock, policy: GuardPolicy | None = None) -> None:
        self.counts = GuardCounts()
        self._inner = inner
        self._clock = clock
        self._policy = policy or GuardPolicy()
        self._failures = 0
        self._skip_until = 0.0

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await self._tried(lambda: self._inner.get_many(keys))

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        return await self._tried(lambda: self._inner.put_many(values, ttl_seconds=ttl_seconds))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._tried(lambda: self._inner.delete(keys))

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        return await self._tried(
            lambda: self._inner.put_member(group, member, value, ttl_seconds=ttl_seconds)
        )

    async def members(self, group: str) -> Mapping[str, bytes]:
        return await self._tried(lambda: self._inner.members(group))

    async def _tried(self, call: Callable[[], Awaitable[_T]]) -> _T:
        if self._leave_alone():
            self.counts.skipped += 1
            raise CacheUnavailableError("the cache keeps failing and is left alone for a while")
        try:
            async with asyncio.timeout(self._policy.call_timeout_seconds):
                answer = await call()
        except CacheUnavailableError as error:
            self.counts.errors += 1
            self._failed(error.message)
            raise
        except TimeoutError as error:
            self.counts.timeouts += 1
            self._failed("the cache took too long")
            raise CacheUnavailableError("the cache took too long") from error
        if self._failures >= self._policy.failures_to_open:
            _logger.info("cache is used again")
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

    def _failed(self, cause: str) -> None:
        self._failures += 1
        if self._failures == self._policy.failures_to_open:
            _logger.warning("cache is left alone while it fails", extra={"cause": cause})
        self._skip_until = self._clock.monotonic() + self._policy.open_seconds
