"""One erasure at a time: of two that rewrite an object at once, each would keep what the other
takes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import msgspec

from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.storage.object_store import ObjectStore

__all__ = ["LOCK_KEY", "ErasureLock", "ErasureLockedError"]

LOCK_KEY: Final = "search-history-erasure.lock"


class ErasureLockedError(LayerError):
    """Another erasure has the lock; the message says who and since when, and what to do."""

    def __init__(self, by: str, since: str) -> None:
        super().__init__(
            ErrorKind.UNAVAILABLE,
            f"another erasure runs since {since}, by {by}; if it was killed, use --break-lock",
        )


class _Holder(msgspec.Struct, frozen=True):
    by: str
    since: str
    """RFC 3339, UTC."""


class ErasureLock:
    """An object that is there while an erasure runs.

    One that was killed leaves it behind. It does not expire: nothing tells a dead erasure from a
    slow one, and only a person can know.

    Args:
        holder: who runs it, for the others; unique.
    """

    def __init__(self, store: ObjectStore, clock: Clock, *, holder: str) -> None:
        self._store = store
        self._clock = clock
        self._holder = holder

    @asynccontextmanager
    async def held(self, *, break_lock: bool = False) -> AsyncIterator[None]:
        """Hold it; with `break_lock` whoever has it.

        Raises:
            ErasureLockedError: another erasure has it.
            StoreUnavailableError: the store does not answer.
        """
        now = datetime.fromtimestamp(self._clock.now_ns() // 10**9, UTC)
        mine = msgspec.json.encode(_Holder(self._holder, now.isoformat()))
        if break_lock:
            await self._store.put(LOCK_KEY, mine)
        elif not await self._store.put(LOCK_KEY, mine, if_absent=True):
            found = await self._store.get(LOCK_KEY)
            # Mine: the put landed and only its answer was lost.
            if found != mine:
                raise _locked(found)
        try:
            yield
        finally:
            await self._store.delete([LOCK_KEY])


def _locked(data: bytes | None) -> ErasureLockedError:
    try:
        holder = msgspec.json.decode(data or b"", type=_Holder)
    except msgspec.DecodeError:
        # Given back just now, or not written by us.
        holder = _Holder("an unknown one", "a while")
    return ErasureLockedError(holder.by, holder.since)
