"""Time as a dependency, so that tests decide what time it is."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Wall time, elapsed time and waiting."""

    def now_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC; may step when the host's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a negative or zero time yields to other tasks once."""
        ...


class SystemClock:
    """The host's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))
