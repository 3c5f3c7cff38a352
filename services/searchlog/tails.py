"""Entries that no object holds yet, for the lists of this replica and of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock
from services.formats.trail import split_lines
from services.searchlog.model import Stream
from services.searchlog.writer import TrailWriter

__all__ = ["Tails"]

_REFRESH_SECONDS: Final = 0.5
_KEPT_SECONDS: Final = 60.0
_RENEW_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 5.0
_GONE_SECONDS: Final = 1.0
_AT_ONCE: Final = 32
"""Tails that are shared at the same time: thousands may have changed, and be due in a second."""
_MAX_BYTES: Final = 512 * 1024
"""A cache record holds 1 MiB; of a longer tail the newest entries are shared."""


class Tails:
    """Shares this writer's tails through the cache, and reads everyone's.

    The cache is a convenience: without it the entries of other replicas appear once they are
    stored. `run` must be running.
    """

    def __init__(self, writer: TrailWriter, cache: Cache, clock: Clock, *, member: str) -> None:
        """`member` names this process among the writers."""
        self._writer = writer
        self._cache = cache
        self._clock = clock
        self._member = member
        self._due: dict[Stream, float] = {}
        """When a tail is shared again though it has not changed; monotonic seconds."""

    async def unstored(self, stream: Stream) -> Sequence[Sequence[bytes]]:
        """Each known writer's lines, oldest first."""
        try:
            others = await self._cache.members(_group(stream))
        except CacheUnavailableError:
            self._writer.counts.tail_failures += 1
            others = {}
        tails = [split_lines(body) for member, body in others.items() if member != self._member]
        own = sorted(self._writer.unstored(stream), key=lambda entry: entry.nanos)
        return [*tails, [entry.line for entry in own]]

    async def run(self) -> None:
        """Refresh what is shared for as long as the task runs."""
        while True:
            await self._clock.sleep(_REFRESH_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Share what has changed, and what would expire."""
        now = self._clock.monotonic()
        due = {stream for stream, at in self._due.items() if at <= now}
        streams = list(self._writer.take_changed() | due)
        for start in range(0, len(streams), _AT_ONCE):
            await asyncio.gather(
                *(self._refresh(s, now) for s in streams[start : start + _AT_ONCE])
            )

    async def _refresh(self, stream: Stream, now: float) -> None:
        body = self._body(stream)
        kept = await self._share(stream, body)
        if body:
            self._due[stream] = now + (_RENEW_SECONDS if kept else _RETRY_SECONDS)
        else:
            self._due.pop(stream, None)

    async def _share(self, stream: Stream, body: bytes) -> bool:
        ttl_seconds = _KEPT_SECONDS if body else _GONE_SECONDS
        try:
            return await self._cache.put_member(
                _group(stream), self._member, body, ttl_seconds=ttl_seconds
            )
        except CacheUnavailableError:
            self._writer.counts.tail_failures += 1
            return False

    def _body(self, stream: Stream) -> bytes:
        entries = sorted(self._writer.unstored(stream), key=lambda entry: entry.nanos)
        size, first = 0, len(entries)
        while first and size + len(entries[first - 1].line) < _MAX_BYTES:
            first -= 1
            size += len(entries[first].line) + 1
        return b"\n".join(entry.line for entry in entries[first:])


def _group(stream: Stream) -> str:
    return f"tail/{stream.kind.value}/{stream.namespace}"
