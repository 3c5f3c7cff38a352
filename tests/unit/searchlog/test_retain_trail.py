"""Retention drops whole days, of both kinds, and only what is out of the window."""

from __future__ import annotations

import asyncio
import random

import pytest
from pydantic import ValidationError

from services.core.ids import parse_namespace
from services.formats.trail_keys import DAY_NANOS, ObjectName, TrailKind, day_of, object_key
from services.searchlog.model import TrailCounts
from services.searchlog.retain_trail import Expired, RetainTrail
from services.searchlog.settings import SearchLogSettings
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore

DAY_MS = 86_400_000
MIDNIGHT = 1_790_035_200_000_000_000


def key_of(nanos: int, *, kind: TrailKind = TrailKind.SEARCHES, namespace: str = "n") -> str:
    return object_key(kind, parse_namespace(namespace), ObjectName(day_of(nanos), nanos))


async def store_with(*keys: str) -> MemoryObjectStore:
    store = MemoryObjectStore()
    for key in keys:
        await store.put(key, b"{}\n")
    return store


def retain(store: MemoryObjectStore, clock: ManualClock, days: int = 7) -> RetainTrail:
    return RetainTrail(store, MemoryCache(clock), clock, TrailCounts(), window_ms=days * DAY_MS)


async def test_a_day_goes_once_its_last_instant_is_out_of_the_window() -> None:
    clock = ManualClock(MIDNIGHT - 1)
    old, kept = key_of(MIDNIGHT - 8 * DAY_NANOS), key_of(MIDNIGHT - 7 * DAY_NANOS)
    store = await store_with(old, kept)
    assert await retain(store, clock)() == Expired()
    clock.tick(1)
    assert await retain(store, clock)() == Expired(days=1, objects=1)
    assert set(store.objects) == {kept}


async def test_both_kinds_of_all_namespaces_and_nothing_else() -> None:
    long_ago = MIDNIGHT - 30 * DAY_NANOS
    old = [key_of(long_ago, kind=kind, namespace=ns) for kind in TrailKind for ns in ("a", "b")]
    foreign = ["snapshots/a/2026-01-01/1.json", f"search-history/a/notes/{long_ago}.jsonl"]
    store = await store_with(*old, *foreign, key_of(MIDNIGHT, namespace="a"))
    clock = ManualClock(MIDNIGHT)
    assert await retain(store, clock)(dry_run=True) == Expired(days=4, objects=4)
    assert set(old) <= set(store.objects)
    assert await retain(store, clock)() == Expired(days=4, objects=4)
    assert set(store.objects) == {*foreign, key_of(MIDNIGHT, namespace="a")}


async def test_cached_copies_go_as_well_and_it_is_counted() -> None:
    clock = ManualClock(MIDNIGHT)
    cache, counts = MemoryCache(clock), TrailCounts()
    key = key_of(MIDNIGHT - 9 * DAY_NANOS)
    store = await store_with(key)
    await cache.put_many({key: b"{}\n"})
    await RetainTrail(store, cache, clock, counts, window_ms=DAY_MS)()
    assert not cache.values
    assert (counts.expired_days, counts.expired_objects) == (1, 1)


async def test_a_run_is_bounded_and_the_next_goes_on() -> None:
    clock = ManualClock(MIDNIGHT)
    start = MIDNIGHT - 9 * DAY_NANOS
    store = await store_with(*(key_of(start + second * 10**9) for second in range(2_500)))
    bounded = RetainTrail(
        store, MemoryCache(clock), clock, TrailCounts(), window_ms=DAY_MS, max_objects=1_700
    )
    assert await bounded() == Expired(days=0, objects=1_700, complete=False)
    assert len(store.objects) == 800
    assert await bounded() == Expired(days=1, objects=800)


async def test_replicas_may_run_it_at_the_same_time() -> None:
    clock = ManualClock(MIDNIGHT)
    keys = [key_of(MIDNIGHT - 9 * DAY_NANOS + n) for n in range(50)]
    store = await store_with(*keys, key_of(MIDNIGHT))
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(retain(store, clock)())
    assert set(store.objects) == {key_of(MIDNIGHT)}


async def test_it_runs_within_an_hour_and_then_hourly_and_survives_an_outage() -> None:
    clock = ManualClock(MIDNIGHT)
    memory = await store_with(key_of(MIDNIGHT - 9 * DAY_NANOS))
    store = FlakyObjectStore(memory, clock=clock, seed=1, error_before_rate=1.0)
    counts = TrailCounts()
    run = RetainTrail(store, MemoryCache(clock), clock, counts, window_ms=DAY_MS).run(
        random.Random(1)
    )
    task = asyncio.create_task(run)
    await clock.settle()
    assert counts.retention_failures == 0
    await clock.advance(3_600)
    assert counts.retention_failures == 1
    store.error_before_rate = 0.0
    await clock.advance(3_600)
    assert not memory.objects
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def settings(**values: str) -> SearchLogSettings:
    return SearchLogSettings.model_validate({"object_store": "file:///tmp/x", **values})


@pytest.mark.parametrize("text", ["90", "0d", "-1d", "for ever"])
def test_a_wrong_window_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        settings(search_history_retention=text)


def test_the_window_is_off_by_default() -> None:
    assert settings().retention_ms is None
    assert settings(search_history_retention="90d").retention_ms == 90 * DAY_MS
