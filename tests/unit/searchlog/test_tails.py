"""Entries that are not stored yet, shared between replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.formats.trail import SearchEntry
from services.searchlog.batch import FlushRules
from services.searchlog.page_query import PageQuery
from tests.doubles.failing_cache import FailingCache
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import Bench, open_bench, searches

GROUP = "tail/search-history/n"


class Pair:
    """Two replicas over one store and one cache."""

    def __init__(self, first: Bench, second: Bench, clock: ManualClock, cache: MemoryCache) -> None:
        self.first, self.second, self.clock, self.cache = first, second, clock, cache
        self.failing: FailingCache

    async def names(self, bench: Bench) -> list[str | None]:
        page = await bench.reader(searches("n"), SearchEntry, PageQuery(50))
        return [entry.raw_query for entry in page.entries]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    clock, store = ManualClock(), MemoryObjectStore()
    cache = MemoryCache(clock)
    failing = FailingCache(cache)
    rules = FlushRules(max_bytes=64 * 1024**2, max_entries=100_000, brisk_entries=10**6)
    async with (
        open_bench(tmp_path / "1", store, failing, clock, digits=1, rules=rules) as first,
        open_bench(tmp_path / "2", store, failing, clock, digits=2, rules=rules) as second,
    ):
        pair = Pair(first, second, clock, cache)
        pair.failing = failing
        yield pair


async def test_own_entries_are_listed_at_once(pair: Pair) -> None:
    pair.first.keep("n", pair.clock.now_ns(), raw_query="a")
    assert await pair.names(pair.first) == ["a"]
    assert await pair.names(pair.second) == []


async def test_others_see_them_within_half_a_second(pair: Pair) -> None:
    pair.first.keep("n", pair.clock.now_ns(), raw_query="a")
    pair.clock.tick(1000)
    pair.second.keep("n", pair.clock.now_ns() + 20_000, raw_query="b")
    await pair.clock.advance(0.5)
    for bench in (pair.first, pair.second):
        assert await pair.names(bench) == ["b", "a"]


async def test_a_stored_entry_leaves_the_tail_and_stays_listed(pair: Pair) -> None:
    pair.first.keep("n", pair.clock.now_ns(), raw_query="a")
    await pair.clock.advance(14)
    assert pair.cache.groups[GROUP]["writer-1"][0]
    await pair.clock.advance(2)
    assert pair.first.counts.written == 1
    assert pair.cache.groups[GROUP]["writer-1"][0] == b""
    assert await pair.cache.members(GROUP) in ({}, {"writer-1": b""})
    await pair.clock.advance(2)
    assert await pair.cache.members(GROUP) == {}
    assert await pair.names(pair.second) == ["a"]


async def test_a_tail_that_does_not_change_is_not_written_again(pair: Pair) -> None:
    pair.first.keep("n", pair.clock.now_ns())
    await pair.clock.advance(1)
    calls = pair.failing.calls
    await pair.clock.advance(10)
    assert pair.failing.calls == calls


async def test_a_long_tail_shares_its_newest(pair: Pair) -> None:
    for n in range(20):
        pair.first.keep("n", pair.clock.now_ns() + n * 10**6, raw_query=f"{n:02d}" + "x" * 50_000)
    await pair.clock.advance(0.5)
    shared = await pair.names(pair.second)
    assert [name[:2] for name in shared if name] == [f"{n:02d}" for n in range(19, 9, -1)]


async def test_without_a_cache_entries_of_others_appear_when_stored(pair: Pair) -> None:
    pair.failing.down = True
    pair.first.keep("n", pair.clock.now_ns(), raw_query="a")
    await pair.clock.advance(1)
    assert await pair.names(pair.second) == []
    assert await pair.names(pair.first) == ["a"]
    assert pair.first.counts.tail_failures > 0
    await pair.clock.advance(15)
    assert await pair.names(pair.second) == ["a"]


async def test_a_tail_is_shared_once_the_cache_is_back(pair: Pair) -> None:
    pair.failing.down = True
    pair.first.keep("n", pair.clock.now_ns(), raw_query="a")
    await pair.clock.advance(1)
    pair.failing.down = False
    await pair.clock.advance(5)
    assert await pair.names(pair.second) == ["a"]
