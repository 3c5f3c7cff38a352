"""From a received entry to an object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.core.ids import parse_namespace
from services.formats.trail import SearchEntry, decode_line, split_lines
from services.formats.trail_keys import ObjectName, TrailKind, day_of, object_key, parse_object_key
from services.searchlog.batch import FlushRules
from services.searchlog.model import AckLevel, DropReason
from services.searchlog.page_query import PageQuery
from services.searchlog.spool import SpoolLimits
from services.searchlog.writer import Receipt, WriterLimits
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.gated_object_store import GatedObjectStore
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import Bench, open_bench, searches


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore()


@pytest.fixture
async def bench(
    tmp_path: Path, store: MemoryObjectStore, clock: ManualClock
) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path, store, MemoryCache(clock), clock) as bench:
        yield bench


def stored(store: MemoryObjectStore, namespace: str = "n") -> list[tuple[int, list[str | None]]]:
    """Objects in key order: the name, and the searches in it."""
    found = []
    for key in sorted(store.objects):
        name = parse_object_key(*searches(namespace), key)
        if name is not None:
            entries = [decode_line(x, SearchEntry) for x in split_lines(store.objects[key])]
            found.append((name.nanos, [entry.raw_query for entry in entries if entry]))
    return found


async def spool_empties(bench: Bench) -> None:
    """The disk runs on real time: an entry can be stored before its sync has ended."""
    async with asyncio.timeout(10):
        while bench.spool.size_bytes:  # noqa: ASYNC110 - bounded, and a thread sets it
            await asyncio.sleep(0.005)


async def test_a_busy_namespace_is_written_after_a_second(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    for n in range(100):
        bench.keep("n", clock.now_ns(), raw_query=str(n))
    await clock.advance(0.9)
    assert stored(store) == []
    await clock.advance(0.2)
    ((_, names),) = stored(store)
    assert names == [str(n) for n in range(100)]
    assert (bench.counts.written, bench.counts.objects) == (100, 1)


async def test_a_quiet_namespace_is_written_after_fifteen_seconds(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    for n in range(99):
        bench.keep("n", clock.now_ns(), raw_query=str(n))
    await clock.advance(14.8)
    assert stored(store) == []
    await clock.advance(0.4)
    assert [len(names) for _, names in stored(store)] == [99]


async def test_a_full_batch_is_written_at_once(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    for n in range(5_001):
        bench.keep("n", clock.now_ns(), raw_query=str(n))
    await clock.settle()
    assert [len(names) for _, names in stored(store)] == [5_000]
    big = "x" * 1_500_000
    for _ in range(3):
        bench.keep("m", clock.now_ns(), raw_query=big)
    await clock.settle()
    assert [len(names) for _, names in stored(store, "m")] == [3]


async def test_the_name_is_the_newest_entry_and_lines_are_oldest_first(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    now = clock.now_ns()
    receipts = [bench.keep("n", now + n * 10**6, raw_query=str(n)) for n in (3, 1, 2)]
    await clock.advance(16)
    newest = max(r.stamp for r in receipts if isinstance(r, Receipt))
    assert stored(store) == [(newest, ["1", "2", "3"])]
    assert newest % 1000 == 7


async def test_objects_keep_to_a_day_and_a_minute(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    midnight = 1_790_035_200_000_000_000
    assert day_of(midnight) != day_of(midnight - 1)
    for offset in (-1, 1, -59 * 10**9, -62 * 10**9, 60 * 10**9, 10**6):
        bench.keep("n", midnight + offset, raw_query=str(offset))
    await clock.advance(16)
    assert [names for _, names in stored(store)] == [
        [str(-62 * 10**9)],
        [str(-59 * 10**9), "-1"],
        ["1", str(10**6), str(60 * 10**9)],
    ] or len(stored(store)) == 4


async def test_late_entries_are_counted_and_kept(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    bench.keep("n", clock.now_ns(), raw_query="now")
    bench.keep("n", clock.now_ns() - 3600 * 10**9, raw_query="an hour ago")
    await clock.advance(16)
    assert [names for _, names in stored(store)] == [["an hour ago"], ["now"]]
    assert bench.counts.late == 1


async def test_a_taken_name_is_bumped(
    bench: Bench, store: MemoryObjectStore, clock: ManualClock
) -> None:
    receipt = bench.keep("n", clock.now_ns(), raw_query="ours")
    assert isinstance(receipt, Receipt)
    key = object_key(*searches("n"), ObjectName(day_of(receipt.stamp), receipt.stamp))
    await store.put(key, b'{"timestamp_nanos":1,"another":"writer"}\n')
    await clock.advance(16)
    assert [nanos for nanos, _ in stored(store)] == [receipt.stamp, receipt.stamp + 1]
    assert bench.counts.name_collisions == 1
    assert store.objects[key].startswith(b'{"timestamp_nanos":1,')


async def test_an_answer_that_was_lost_is_not_a_collision(tmp_path: Path) -> None:
    clock, memory = ManualClock(), MemoryObjectStore()
    store = FlakyObjectStore(memory, clock=clock, seed=1, error_after_rate=1.0)
    async with open_bench(tmp_path, store, MemoryCache(clock), clock) as bench:
        bench.keep("n", clock.now_ns(), raw_query="once")
        await clock.advance(16)
        assert bench.counts.written == 0
        store.error_after_rate = 0.0
        await clock.advance(16)
        assert [names for _, names in stored(memory)] == [["once"]]
        assert (bench.counts.written, bench.counts.name_collisions) == (1, 0)
        assert bench.counts.put_failures >= 1


async def test_acknowledgements_wait_for_what_they_promise(tmp_path: Path) -> None:
    clock = ManualClock()
    store = GatedObjectStore(MemoryObjectStore())
    async with open_bench(tmp_path, store, MemoryCache(clock), clock) as bench:
        store.shut()
        receipt = bench.keep("n", clock.now_ns(), AckLevel.STORED)
        assert isinstance(receipt, Receipt)
        await bench.writer.acknowledged([receipt], AckLevel.RECEIVED)
        await bench.writer.acknowledged([receipt], AckLevel.FSYNCED)
        assert bench.spool.counts.syncs == 1
        waiting = asyncio.create_task(bench.writer.acknowledged([receipt], AckLevel.STORED))
        await clock.advance(1.2)
        assert store.waiting == 1, "a caller that waits is not kept for the whole linger"
        assert not waiting.done()
        store.release()
        await waiting
        assert bench.counts.written == 1


async def test_an_outage_keeps_entries_on_disk_and_memory_bounded(tmp_path: Path) -> None:
    clock, memory = ManualClock(), MemoryObjectStore()
    store = FlakyObjectStore(memory, clock=clock, seed=1, error_before_rate=1.0)
    limits = WriterLimits(max_memory_bytes=100_000, puts=2)
    async with open_bench(
        tmp_path, store, MemoryCache(clock), clock, writer_limits=limits
    ) as bench:
        for n in range(2_000):
            receipt = bench.keep("n", clock.now_ns(), raw_query=f"{n:05d}")
            assert isinstance(receipt, Receipt)
            if n % 100 == 99:
                await bench.writer.acknowledged([receipt], AckLevel.FSYNCED)
                await clock.advance(1)
        assert len(bench.writer.unstored(searches("n"))) < 500
        assert bench.spool.backlog
        store.error_before_rate = 0.0
        while bench.counts.written < 2_000:
            await clock.advance(1)
        names = sorted(name for _, names in stored(memory) for name in names if name)
        assert names == [f"{n:05d}" for n in range(2_000)]
        await spool_empties(bench)
        assert bench.counts.replayed > 1_000
        assert not bench.writer.unstored(searches("n"))
        bench.keep("n", clock.now_ns())
        assert len(bench.writer.unstored(searches("n"))) == 1, "held in memory again"


async def test_a_full_spool_drops_and_counts_and_takes_again(tmp_path: Path) -> None:
    clock, memory = ManualClock(), MemoryObjectStore()
    store = FlakyObjectStore(memory, clock=clock, seed=1, error_before_rate=1.0)
    async with open_bench(
        tmp_path, store, MemoryCache(clock), clock, spool_limits=SpoolLimits(max_bytes=2_000)
    ) as bench:
        answers = [bench.keep("n", clock.now_ns()) for _ in range(30)]
        kept = sum(isinstance(answer, Receipt) for answer in answers)
        assert 5 < kept < 20
        assert answers[-1] is DropReason.SPOOL_FULL
        assert bench.counts.dropped[DropReason.SPOOL_FULL] == 30 - kept
        store.error_before_rate = 0.0
        await clock.advance(60)
        assert bench.counts.written == kept
        assert isinstance(bench.keep("n", clock.now_ns()), Receipt)


async def test_an_entry_beyond_all_measure_is_dropped(bench: Bench, clock: ManualClock) -> None:
    assert bench.keep("n", clock.now_ns(), raw_query="x" * 3_000_000) is DropReason.TOO_LARGE
    assert bench.counts.dropped[DropReason.TOO_LARGE] == 1


async def test_what_a_crash_left_is_replayed_with_its_timestamps(tmp_path: Path) -> None:
    clock, memory = ManualClock(), MemoryObjectStore()
    store = FlakyObjectStore(memory, clock=clock, seed=1, error_after_rate=1.0)
    cache = MemoryCache(clock)
    async with open_bench(tmp_path, store, cache, clock) as bench:
        receipts = [bench.keep("n", clock.now_ns(), raw_query=str(n)) for n in range(3)]
        kept = [receipt for receipt in receipts if isinstance(receipt, Receipt)]
        await bench.writer.acknowledged(kept, AckLevel.FSYNCED)
        await clock.advance(16)
        assert len(memory.objects) == 1, "it crashes after the put, before it knows"
    store.error_after_rate = 0.0
    async with open_bench(tmp_path, store, cache, clock) as bench:
        more = bench.keep("n", kept[0].stamp, raw_query="after")
        assert isinstance(more, Receipt)
        while bench.counts.written < 4:
            await clock.advance(1)
        page = await bench.reader(searches("n"), SearchEntry, PageQuery(50))
        assert {e.raw_query: e.timestamp_nanos for e in page.entries} == {
            "after": more.stamp,
            **{str(n): kept[n].stamp for n in range(3)},
        }
        assert len({entry.timestamp_nanos for entry in page.entries}) == 4
        assert bench.counts.replayed == 3
        await spool_empties(bench)


async def test_draining_writes_what_is_held(bench: Bench, store: MemoryObjectStore) -> None:
    bench.keep("n", 1_790_000_000_000_000_000)
    assert await bench.writer.drain(5)
    assert len(store.objects) == 1


async def test_draining_gives_up_in_time(tmp_path: Path) -> None:
    clock = ManualClock()
    store = GatedObjectStore(MemoryObjectStore())
    store.shut()
    async with open_bench(tmp_path, store, MemoryCache(clock), clock) as bench:
        bench.keep("n", clock.now_ns())
        assert not await bench.writer.drain(0.05)


async def test_puts_are_bounded(tmp_path: Path) -> None:
    clock = ManualClock()
    store = GatedObjectStore(MemoryObjectStore())
    store.shut()
    limits = WriterLimits(puts=3)
    async with open_bench(
        tmp_path, store, MemoryCache(clock), clock, writer_limits=limits
    ) as bench:
        for n in range(20):
            bench.keep(f"ns-{n}", clock.now_ns())
        await clock.advance(20)
        assert store.waiting == 3
        store.release()
        await clock.settle(100)
        assert bench.counts.objects == 20


async def test_rules_are_settings(tmp_path: Path, clock: ManualClock) -> None:
    store = MemoryObjectStore()
    rules = FlushRules(max_entries=2, linger_seconds=3)
    async with open_bench(tmp_path, store, MemoryCache(clock), clock, rules=rules) as bench:
        for n in range(3):
            bench.keep("n", clock.now_ns(), raw_query=str(n))
        await clock.settle()
        assert [names for _, names in stored(store)] == [["0", "1"]]
        await clock.advance(3.2)
        assert [names for _, names in stored(store)] == [["0", "1"], ["2"]]


async def test_searches_and_clicks_are_kept_apart(bench: Bench, clock: ManualClock) -> None:
    bench.keep("n", clock.now_ns())
    clicks = (TrailKind.CLICKS, parse_namespace("n"))
    assert len(bench.writer.unstored(searches("n"))) == 1
    assert not bench.writer.unstored(type(searches("n"))(*clicks))
