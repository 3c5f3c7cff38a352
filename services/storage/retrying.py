"""Trying again: the only layer that does, so that attempts do not multiply."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.core.clock import Clock
from services.storage.object_store import ObjectStore, StoreRefusedError, StoreUnavailableError

__all__ = ["RetryPolicy", "RetryingObjectStore"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter: a random wait from 0 to a bound that doubles.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 5
    first_delay_seconds: float = 0.1
    max_delay_seconds: float = 5.0

    def delay_seconds(self, retry: int, rng: random.Random) -> float:
        """The wait before retry 1, 2, ..."""
        bound = min(self.max_delay_seconds, self.first_delay_seconds * 2 ** (retry - 1))
        return rng.uniform(0.0, bound)


class RetryingObjectStore:
    """Repeats calls that failed with `StoreUnavailableError`, and only those.

    Not repeated: `StoreRefusedError` and invalid arguments (they stay so), and anything
    unexpected. Every call is safe to repeat: objects are immutable, and a put or delete that
    had its effect already has it again.

    A conditional put is the exception. An error can hide that it took effect, and then the
    repeated one meets our own object and answers False. So after an error, a False is checked
    against the stored body: if it is ours, byte for byte, the answer is True. Where another
    writer stored equal bytes in between, both are told True; with equal bytes under one key
    neither can tell, nor needs to.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        clock: Clock,
        rng: random.Random,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.retries = 0
        """Repeated calls so far."""
        self._inner = inner
        self._clock = clock
        self._rng = rng
        self._policy = policy or RetryPolicy()

    async def get(self, key: str) -> bytes | None:
        return await self._retried(lambda: self._inner.get(key))

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        failures = 0

        async def attempt() -> bool:
            nonlocal failures
            try:
                return await self._inner.put(key, body, if_absent=if_absent)
            except StoreUnavailableError:
                failures += 1
                raise

        written = await self._retried(attempt)
        if written or not failures:
            return written
        return await self.get(key) == body

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self._retried(
            lambda: self._inner.list(prefix, start_after=start_after, limit=limit)
        )

    async def list_children(self, prefix: str) -> Sequence[str]:
        return await self._retried(lambda: self._inner.list_children(prefix))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._retried(lambda: self._inner.delete(keys))

    async def _retried(self, call: Callable[[], Awaitable[_T]]) -> _T:
        for retry in range(1, self._policy.attempts):
            try:
                return await call()
            except StoreRefusedError:
                raise
            except StoreUnavailableError:
                self.retries += 1
            await self._clock.sleep(self._policy.delay_seconds(retry, self._rng))
        return await call()
