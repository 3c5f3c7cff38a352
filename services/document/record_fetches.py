"""Fetches on their way to SearchLogService, off the request path."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.core.clock import Clock
from services.core.errors import LayerError
from services.document.model import Fetch

__all__ = ["FetchCounts", "FetchRecorder", "SendFetches"]

_logger = logging.getLogger(__name__)

SendFetches = Callable[[Sequence[Fetch]], Awaitable[None]]
"""Hands a batch over and returns when it is durable there. Raises LayerError: UNAVAILABLE."""

WAITING: Final = 100_000
"""Fetches that wait at most; about 30 MB. Further ones are dropped and counted."""
BATCH: Final = 500
_LINGER_SECONDS: Final = 0.05
_LONGEST_BACKOFF_SECONDS: Final = 5.0
_FLUSH_RETRY_SECONDS: Final = 0.2


@dataclass
class FetchCounts:
    """What became of the fetches so far."""

    received: int = 0
    sent: int = 0
    dropped: int = 0
    failures: int = 0


class FetchRecorder:
    """A bounded buffer and one sender. `record` never waits and never fails."""

    def __init__(self, send: SendFetches, clock: Clock) -> None:
        self.counts = FetchCounts()
        self._send = send
        self._clock = clock
        self._waiting: deque[Fetch] = deque()
        self._arrived = asyncio.Event()

    def record(self, fetches: Sequence[Fetch]) -> None:
        """Take fetches to be sent soon; what does not fit is dropped and counted."""
        room = WAITING - len(self._waiting)
        self.counts.received += len(fetches)
        self.counts.dropped += max(len(fetches) - room, 0)
        self._waiting.extend(fetches[: max(room, 0)])
        self._arrived.set()

    async def run(self) -> None:
        """Send batches for as long as the task runs."""
        failures = 0
        while True:
            await self._arrived.wait()
            await self._clock.sleep(_LINGER_SECONDS)
            if await self._send_batch():
                failures = 0
            else:
                failures += 1
                await self._clock.sleep(min(0.1 * 2.0**failures, _LONGEST_BACKOFF_SECONDS))

    async def flush(self, timeout_seconds: float) -> None:
        """Send what waits, for at most that time; what is left is dropped and counted."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._waiting:
                    if not await self._send_batch():
                        # The other service may be restarting as well.
                        await self._clock.sleep(_FLUSH_RETRY_SECONDS)
        except TimeoutError:
            pass
        if self._waiting:
            self.counts.dropped += len(self._waiting)
            _logger.warning("fetches dropped at shutdown", extra={"count": len(self._waiting)})

    async def _send_batch(self) -> bool:
        """Send the oldest; they leave the buffer once they are safe."""
        batch = [self._waiting[i] for i in range(min(BATCH, len(self._waiting)))]
        try:
            if batch:
                await self._send(batch)
        except LayerError as error:
            self.counts.failures += 1
            _logger.warning("fetches not recorded yet", extra={"cause": error.message})
            return False
        for _ in batch:
            self._waiting.popleft()
        self.counts.sent += len(batch)
        if not self._waiting:
            self._arrived.clear()
        return True
