"""Counts are of requests, whatever came of them."""

from __future__ import annotations

import pytest

from services.storage.counting import CountingObjectStore, RequestCounts
from services.storage.object_store import StoreUnavailableError
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore


async def test_each_method_is_counted() -> None:
    store = CountingObjectStore(MemoryObjectStore())
    await store.put("a", b"")
    await store.put("a", b"", if_absent=True)
    await store.get("a")
    await store.list("")
    await store.list_children("")
    await store.delete([str(number) for number in range(2001)])
    await store.delete([])
    assert store.counts == RequestCounts(get=1, put=2, list=1, list_children=1, delete=3)


async def test_failed_requests_count() -> None:
    down = FlakyObjectStore(MemoryObjectStore(), clock=FakeClock(), seed=1, error_before_rate=1)
    store = CountingObjectStore(down)
    with pytest.raises(StoreUnavailableError):
        await store.get("a")
    assert store.counts.get == 1
