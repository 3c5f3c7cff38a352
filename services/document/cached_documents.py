"""Documents in the cache: whole, without their vectors, as the upstream's JSON of the row."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.cache.cache import MAX_VALUE_BYTES, Cache, CacheUnavailableError
from services.core.clock import Clock
from services.core.ids import Namespace

__all__ = ["BackfillCounts", "CachedDocuments", "batches", "document_key"]

_logger = logging.getLogger(__name__)

WAITING_BYTES: Final = 32 * 1024 * 1024
_OVERHEAD_BYTES: Final = 300
"""What Python takes for a document that waits, beside its row and its key."""
_BATCH_BYTES: Final = 1024 * 1024
_BATCH_DOCUMENTS: Final = 200


@dataclass
class BackfillCounts:
    """What became of documents that were to be cached, since the start."""

    kept: int = 0
    too_large: int = 0
    """Over the record limit of the cache."""
    dropped: int = 0
    """No room among those that wait, or too old when their turn came."""
    failed: int = 0
    """Lost with a put that failed."""


@dataclass(frozen=True)
class _Waiting:
    key: str
    row: bytes
    read_at: float

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return len(self.row) + len(self.key) + _OVERHEAD_BYTES


class CachedDocuments:
    """Reads them at once, and keeps new ones in the background, within bounds.

    Args:
        ttl_seconds: how long a document may be served after it was read upstream.
    """

    def __init__(self, cache: Cache, clock: Clock, *, ttl_seconds: float) -> None:
        self.counts = BackfillCounts()
        self._cache = cache
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def get(
        self, namespace: Namespace, generation: str, ids: Sequence[str]
    ) -> Mapping[str, bytes]:
        """The rows that are there, by id.

        Raises:
            CacheUnavailableError.
        """
        keys = {document_key(namespace, generation, text): text for text in ids}
        found = await self._cache.get_many(list(keys)) if keys else {}
        return {keys[key]: row for key, row in found.items()}

    def keep(
        self, namespace: Namespace, generation: str, rows: Mapping[str, bytes], *, read_at: float
    ) -> None:
        """Cache rows soon. What does not fit is dropped and counted.

        Args:
            read_at: monotonic seconds at which the upstream was asked, after the generation was
                seen.
        """
        for text, row in rows.items():
            waiting = _Waiting(document_key(namespace, generation, text), row, read_at)
            if len(row) > MAX_VALUE_BYTES:
                self.counts.too_large += 1
            elif self._waiting_bytes + waiting.size > WAITING_BYTES:
                self.counts.dropped += 1
            else:
                self._waiting.append(waiting)
                self._waiting_bytes += waiting.size
        if self._waiting:
            self._idle.clear()
            self._arrived.set()

    async def idle(self) -> None:
        """Wait until nothing waits to be cached."""
        await self._idle.wait()

    async def run(self) -> None:
        """Cache what waits, for as long as the task runs."""
        while True:
            await self._arrived.wait()
            await self._put(self._take())
            if not self._waiting:
                self._arrived.clear()
                self._idle.set()

    async def _put(self, batch: Sequence[_Waiting]) -> None:
        ttl_seconds = self._ttl_seconds - (self._clock.monotonic() - batch[0].read_at)
        if ttl_seconds <= 0:
            self.counts.dropped += len(batch)
            return
        try:
            kept = await self._cache.put_many(
                {waiting.key: waiting.row for waiting in batch}, ttl_seconds=ttl_seconds
            )
        except CacheUnavailableError as error:
            self.counts.failed += len(batch)
            _logger.info("documents not cached", extra={"cause": error.message})
        else:
            self.counts.kept += kept

    def _take(self) -> list[_Waiting]:
        """The oldest, as many as make a batch."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting and len(batch) < _BATCH_DOCUMENTS:
            if batch and size + len(self._waiting[0].row) > _BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
            size += len(batch[-1].row)
        self._waiting_bytes -= sum(waiting.size for waiting in batch)
        return batch


def batches(values: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Values in portions that a cache takes in one go, in their order."""
    batch: dict[str, bytes] = {}
    size = 0
    for key, value in values.items():
        if batch and (size + len(value) > _BATCH_BYTES or len(batch) >= _BATCH_DOCUMENTS):
            yield batch
            batch, size = {}, 0
        batch[key] = value
        size += len(value)
    if batch:
        yield batch


def document_key(namespace: Namespace, generation: str, document_id: str) -> str:
    """The cache key. An id has at most 64 bytes, so that every backend takes it."""
    return f"document/{namespace}/{generation}/{document_id}"
