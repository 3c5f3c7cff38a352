"""A clock whose sleepers wait until a test has moved it far enough."""

from __future__ import annotations

import asyncio
import heapq

__all__ = ["SkewedClock", "WaitingClock", "settle"]


class WaitingClock:
    """Starts at a fixed time and moves only by `advance`."""

    def __init__(self, now_ns: int = 1_790_000_000_000_000_000) -> None:
        self._start_ns = now_ns
        self._elapsed = 0.0
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return self._start_ns + round(self._elapsed * 1e9)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._elapsed + seconds, self._order, future))
        await future

    @property
    def sleeping(self) -> int:
        """How many wait."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Move on; who has slept enough runs, in order, each until it waits again."""
        until = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self._elapsed, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
                await settle()
        self._elapsed = until
        await settle()


class SkewedClock:
    """Another host's: its wall time is off by `seconds`, elapsed time is everywhere the same."""

    def __init__(self, clock: WaitingClock, seconds: float) -> None:
        self._clock = clock
        self._skew_ns = round(seconds * 1e9)

    def now_ns(self) -> int:
        return self._clock.now_ns() + self._skew_ns

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


async def settle() -> None:
    """Let every task run that needs no time and no thread."""
    for _ in range(50):
        await asyncio.sleep(0)
