"""A clock whose sleepers wake when a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

__all__ = ["ManualClock"]


class ManualClock:
    """Unlike `FakeClock`, sleeping does not move it: endless loops rest until `advance`."""

    def __init__(self, now_ns: int = 1_790_000_000_000_000_000) -> None:
        self._start_ns = now_ns
        self._elapsed_ns = 0
        self._order = itertools.count()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []

    def now_ns(self) -> int:
        return self._start_ns + self._elapsed_ns

    def monotonic(self) -> float:
        return self._elapsed_ns / 1e9

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiting = asyncio.get_running_loop().create_future()
        due = self._elapsed_ns + round(seconds * 1e9)
        heapq.heappush(self._sleepers, (due, next(self._order), waiting))
        await waiting

    def tick(self, nanos: int) -> None:
        """Move on without waking anyone."""
        self._elapsed_ns += nanos

    def step(self, seconds: float) -> None:
        """Set the wall clock on or back, as an operator or NTP does; no time passes."""
        self._start_ns += round(seconds * 1e9)

    async def advance(self, seconds: float) -> None:
        """Move on, waking sleepers in the order in which they are due."""
        end = self._elapsed_ns + round(seconds * 1e9)
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waiting = heapq.heappop(self._sleepers)
            self._elapsed_ns = max(self._elapsed_ns, due)
            if not waiting.done():
                waiting.set_result(None)
            await self.settle()
        self._elapsed_ns = max(self._elapsed_ns, end)
        await self.settle()

    async def settle(self, turns: int = 10) -> None:
        """Let what is ready run."""
        for _ in range(turns):
            await asyncio.sleep(0)
