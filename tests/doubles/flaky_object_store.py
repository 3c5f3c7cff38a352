"""An object store that fails and dawdles as networks do, the same way for the same seed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from services.core.clock import Clock
from services.storage.object_store import ObjectStore, StoreUnavailableError

__all__ = ["FlakyObjectStore"]

_T = TypeVar("_T")


class FlakyObjectStore:
    """Fails some calls before they have an effect, and some after: the write has landed and
    only its answer is lost. Each call first waits up to `max_latency_seconds` on the clock.

    The rates may be changed while it runs: 1.0 is an outage.
    """

    def __init__(
        self,
        inner: ObjectStore,
        *,
        clock: Clock,
        seed: int,
        error_before_rate: float = 0.0,
        error_after_rate: float = 0.0,
        max_latency_seconds: float = 0.0,
    ) -> None:
        self.error_before_rate = error_before_rate
        self.error_after_rate = error_after_rate
        self.max_latency_seconds = max_latency_seconds
        self.errors_before = 0
        self.errors_after = 0
        self._inner = inner
        self._clock = clock
        self._seed = seed
        self._rng = random.Random(seed)

    async def get(self, key: str) -> bytes | None:
        return await self._disturbed(lambda: self._inner.get(key))

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        return await self._disturbed(lambda: self._inner.put(key, body, if_absent=if_absent))

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self._disturbed(
            lambda: self._inner.list(prefix, start_after=start_after, limit=limit)
        )

    async def list_children(self, prefix: str) -> Sequence[str]:
        return await self._disturbed(lambda: self._inner.list_children(prefix))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._disturbed(lambda: self._inner.delete(keys))

    async def _disturbed(self, call: Callable[[], Awaitable[_T]]) -> _T:
        if self.max_latency_seconds:
            await self._clock.sleep(self._rng.uniform(0.0, self.max_latency_seconds))
        if self._rng.random() < self.error_before_rate:
            self.errors_before += 1
            raise StoreUnavailableError(f"flaky store (seed {self._seed}): no effect")
        answer = await call()
        if self._rng.random() < self.error_after_rate:
            self.errors_after += 1
            raise StoreUnavailableError(f"flaky store (seed {self._seed}): answer lost")
        return answer
