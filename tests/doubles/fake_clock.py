"""A clock that moves only when told to."""

from __future__ import annotations

import asyncio

__all__ = ["FakeClock"]


class FakeClock:
    """Starts at a fixed time; `sleep` moves it on by as much at once, and is written down."""

    def __init__(self, now_ns: int = 1_790_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic = 0.0
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(seconds, 0.0))
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._now_ns += round(seconds * 1e9)
        self._monotonic += seconds
