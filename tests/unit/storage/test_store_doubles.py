"""The doubles that other tests lean on do what they say."""

from __future__ import annotations

import asyncio

import pytest

from services.storage.object_store import StoreUnavailableError
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.gated_object_store import GatedObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore


async def test_gated_calls_wait_before_their_effect() -> None:
    memory = MemoryObjectStore()
    store = GatedObjectStore(memory)
    store.shut()
    put = asyncio.create_task(store.put("a", b"1"))
    await store.arrived(1)
    assert await store.get("a") is None
    store.release()
    assert await put is True
    assert await store.get("a") == b"1"
    assert store.waiting == 0


async def test_flaky_errors_are_before_or_after_the_effect() -> None:
    for before, after, stored in ((1.0, 0.0, {}), (0.0, 1.0, {"a": b"1"})):
        memory = MemoryObjectStore()
        store = FlakyObjectStore(
            memory, clock=FakeClock(), seed=1, error_before_rate=before, error_after_rate=after
        )
        with pytest.raises(StoreUnavailableError):
            await store.put("a", b"1")
        assert memory.objects == stored


async def test_flaky_is_the_same_for_the_same_seed() -> None:
    async def failures(seed: int) -> list[int]:
        clock = FakeClock()
        store = FlakyObjectStore(
            MemoryObjectStore(),
            clock=clock,
            seed=seed,
            error_before_rate=0.3,
            max_latency_seconds=2.0,
        )
        failed = []
        for number in range(50):
            try:
                await store.get("a")
            except StoreUnavailableError:
                failed.append(number)
        assert 0 < clock.monotonic() < 100
        return failed

    assert await failures(1) == await failures(1)
    assert await failures(1) != await failures(2)
