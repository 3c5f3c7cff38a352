"""Every way to have an empty cache, for the one suite that they all pass.

Aerospike needs a server: `docker run --rm -p 3000:3000 aerospike/aerospike-server`, then
`LAYER_TEST_AEROSPIKE=127.0.0.1:3000` (and LAYER_TEST_AEROSPIKE_NAMESPACE, if not `test`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from services.cache.aerospike_cache import AerospikeCache, AerospikeSettings
from services.cache.best_effort import BestEffortCache
from services.cache.cache import Cache, CacheUnavailableError
from services.cache.guarded import GuardedCache, GuardPolicy
from services.cache.lmdb_cache import LmdbCache
from tests.doubles.fake_aerospike_client import FakeAerospikeClient
from tests.doubles.fake_clock import FakeClock

__all__ = ["BACKENDS", "aerospike_settings"]

_AEROSPIKE = os.environ.get("LAYER_TEST_AEROSPIKE", "")
_AEROSPIKE_NAMESPACE = os.environ.get("LAYER_TEST_AEROSPIKE_NAMESPACE", "test")


@asynccontextmanager
async def lmdb(folder: Path, clock: FakeClock) -> AsyncIterator[Cache]:
    async with LmdbCache(folder / "cache", map_size_bytes=64 << 20, clock=clock) as cache:
        yield cache


def aerospike_settings() -> AerospikeSettings:
    """A set of its own on the server; without a server the test is skipped."""
    if not _AEROSPIKE:
        pytest.skip("no aerospike: start a server and set LAYER_TEST_AEROSPIKE=host:port")
    return AerospikeSettings(
        _AEROSPIKE, _AEROSPIKE_NAMESPACE, set_name=uuid.uuid4().hex, timeout_ms=2000
    )


@asynccontextmanager
async def aerospike(_: Path, clock: FakeClock) -> AsyncIterator[Cache]:
    async with AerospikeCache(aerospike_settings(), clock=clock) as cache:
        try:
            await cache.get_many(["answers?"])
        except CacheUnavailableError as error:
            pytest.skip(f"LAYER_TEST_AEROSPIKE={_AEROSPIKE} does not answer: {error.__cause__!r}")
        yield cache


@asynccontextmanager
async def aerospike_fake(_: Path, clock: FakeClock) -> AsyncIterator[Cache]:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("nowhere:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=clock, connector=client.connect) as cache:
        yield cache


@asynccontextmanager
async def best_effort(folder: Path, clock: FakeClock) -> AsyncIterator[Cache]:
    async with lmdb(folder, clock) as cache:
        # On a busy machine a call takes what it takes.
        policy = GuardPolicy(call_timeout_seconds=30)
        yield BestEffortCache(GuardedCache(cache, clock=clock, policy=policy))


BACKENDS: dict[str, Callable[[Path, FakeClock], AbstractAsyncContextManager[Cache]]] = {
    "lmdb": lmdb,
    "aerospike": aerospike,
    "aerospike with a fake client": aerospike_fake,
    "best effort over lmdb": best_effort,
}
