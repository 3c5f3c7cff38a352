"""Every way to have an empty cache, for the one suite that they all pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from services.cache.cache import Cache
from services.cache.lmdb_cache import LmdbCache
from tests.doubles.fake_clock import FakeClock

__all__ = ["BACKENDS", "Backend"]

Backend = Callable[[Path, FakeClock], AbstractAsyncContextManager[Cache]]


@asynccontextmanager
async def lmdb(folder: Path, clock: FakeClock) -> AsyncIterator[Cache]:
    async with LmdbCache(folder / "cache", map_size_bytes=64 << 20, clock=clock) as cache:
        yield cache


BACKENDS: dict[str, Backend] = {"lmdb": lmdb}
