"""Pages of a trail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from services.cache.cache import Cache
from services.cache.no_cache import NoCache
from services.core.errors import ErrorKind
from services.formats.trail import SearchEntry
from services.formats.trail_keys import DAY_NANOS, ObjectName, day_of, object_key
from services.searchlog.model import Stream, TrailCounts
from services.searchlog.object_bodies import ObjectBodies
from services.searchlog.page_query import PageQuery
from services.searchlog.read_trail import ReadLimits, ReadTrail, TrailPage
from services.storage.counting import CountingObjectStore
from services.storage.object_store import ObjectStore, StoreUnavailableError
from tests.doubles.failing_cache import FailingCache
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import searches
from tests.doubles.stored_trail import one_line_objects, put_object, search_line

NOW = 1_790_000_000_000_000_000
SECOND = 10**9
STREAM = searches("n")


def reader(
    store: ObjectStore,
    *,
    cache: Cache | None = None,
    tails: Sequence[Sequence[bytes]] = (),
    clock: ManualClock | None = None,
    limits: ReadLimits | None = None,
    counts: TrailCounts | None = None,
) -> ReadTrail:
    async def unstored(_: Stream) -> Sequence[Sequence[bytes]]:
        return tails

    bodies = ObjectBodies(store, cache or NoCache())
    return ReadTrail(
        store,
        bodies,
        unstored,
        clock or ManualClock(NOW),
        limits or ReadLimits(),
        counts or TrailCounts(),
    )


async def page(read: ReadTrail, limit: int = 50, **fields: Any) -> TrailPage[SearchEntry]:
    return await read(STREAM, SearchEntry, PageQuery(limit, **fields))


def ages(found: TrailPage[SearchEntry]) -> list[float]:
    """Seconds before NOW."""
    return [(NOW - entry.timestamp_nanos) / SECOND for entry in found.entries]


async def walk(read: ReadTrail, limit: int, **fields: Any) -> list[TrailPage[SearchEntry]]:
    pages = [await page(read, limit, **fields)]
    while pages[-1].next_cursor is not None:
        fields["newest"] = pages[-1].next_cursor - 1
        pages.append(await page(read, limit, **fields))
        assert len(pages) < 3_000
    return pages


async def test_an_empty_trail() -> None:
    assert await page(reader(MemoryObjectStore())) == TrailPage([], None)


async def test_overlapping_objects_are_merged() -> None:
    store = MemoryObjectStore()
    await put_object(store, NOW - 50 * SECOND, NOW - 20 * SECOND, NOW - 1 * SECOND)
    await put_object(store, NOW - 30 * SECOND, NOW - 10 * SECOND)
    await put_object(store, NOW - 40 * SECOND)
    read = reader(store)
    assert ages(await page(read)) == [1, 10, 20, 30, 40, 50]
    # A reader that has not seen the objects above the cursor looks into them.
    assert ages(await page(reader(store), newest=NOW - 15 * SECOND)) == [20, 30, 40, 50]
    pages = await walk(read, 2)
    assert [ages(p) for p in pages] == [[1, 10], [20, 30], [40, 50]]
    assert [p.next_cursor for p in pages] == [NOW - 10 * SECOND, NOW - 30 * SECOND, None]


@pytest.mark.parametrize("limit", [1, 3, 7, 500])
async def test_cursors_visit_every_entry_once(limit: int) -> None:
    store = MemoryObjectStore()
    stamps = [NOW - n * n * 7 * SECOND for n in range(1, 60)]
    for n, stamp in enumerate(stamps):
        inside = [stamp + k for k in range(-(n % 4), 1)]
        await put_object(store, *inside)
    expected = sorted(
        (NOW - n * n * 7 * SECOND + k for n in range(1, 60) for k in range(-((n - 1) % 4), 1)),
        reverse=True,
    )
    found = [e.timestamp_nanos for p in await walk(reader(store), limit) for e in p.entries]
    assert found == expected


async def test_entries_that_are_not_stored_yet_are_merged_and_shown_once() -> None:
    store = MemoryObjectStore()
    await put_object(store, NOW - 4 * SECOND, NOW - 2 * SECOND)
    tails = [
        [search_line(NOW - 4 * SECOND), search_line(NOW - 3 * SECOND)],
        [search_line(NOW - 5 * SECOND), search_line(NOW - 1 * SECOND), b"torn {"],
    ]
    read = reader(store, tails=tails)
    assert ages(await page(read)) == [1, 2, 3, 4, 5]
    assert [ages(p) for p in await walk(read, 2)] == [[1, 2], [3, 4], [5]]


async def test_a_replayed_entry_is_shown_once() -> None:
    store = MemoryObjectStore()
    await put_object(store, NOW - 3 * SECOND, NOW - 2 * SECOND)
    await put_object(store, NOW - 3 * SECOND, NOW - 2 * SECOND, NOW - 1 * SECOND)
    await put_object(store, NOW - 3 * SECOND)
    assert [ages(p) for p in await walk(reader(store), 1)] == [[1], [2], [3]]


async def test_range_is_inclusive() -> None:
    store = await one_line_objects(NOW - n * SECOND for n in range(10))
    await put_object(store, *(NOW - n * SECOND for n in range(40, 20, -1)))
    read = reader(store)
    found = await page(read, oldest=NOW - 24 * SECOND, newest=NOW - 8 * SECOND)
    assert ages(found) == [8, 9, 21, 22, 23, 24]
    assert found.next_cursor is None
    assert ages(await page(read, oldest=NOW + 1)) == []
    assert ages(await page(read, oldest=NOW, newest=NOW - 1)) == []


async def test_filters() -> None:
    store = MemoryObjectStore()
    trace = "f81d4fae7dec11d0a76500a0c91e6bf6"
    lines = [
        search_line(NOW - 4, tags=("a", "a/b", "b")),
        search_line(NOW - 3, tags=("a",), trace_id=trace),
        search_line(NOW - 2, tags=("ab", "b")),
        b'{"timestamp":"t","timestamp_nanos":%d,"namespace":"n","query":{},"tags":["a\\/b"]}' % NOW,
    ]
    key = object_key(*STREAM, ObjectName(day_of(NOW), NOW))
    await store.put(key, b"\n".join(lines))
    read = reader(store)

    async def offsets(**fields: Any) -> list[int]:
        return [NOW - e.timestamp_nanos for e in (await page(read, **fields)).entries]

    assert await offsets(tags=frozenset({"a"})) == [3, 4]
    assert await offsets(tags=frozenset({"a", "b"})) == [4]
    assert await offsets(tags=frozenset({"a/b"})) == [0, 4]
    assert await offsets(trace_id=trace) == [3]
    assert await offsets(trace_id=trace, tags=frozenset({"b"})) == []


async def test_malformed_lines_and_foreign_keys_are_skipped() -> None:
    store = await one_line_objects([NOW - SECOND])
    day = day_of(NOW)
    await store.put(
        object_key(*STREAM, ObjectName(day, NOW)),
        b'oops\n\n{"timestamp_nanos": "x"}\n' + search_line(NOW) + b'\n{"timestamp_nanos":5}\n\xff',
    )
    await store.put(f"search-history/n/{day}/readme.txt", b"hello")
    await store.put("search-history/n/latest/1790000000000000000.jsonl", search_line(NOW))
    await store.put("search-history/nn/2026-09-21/1790000000000000000.jsonl", search_line(NOW - 1))
    counts = TrailCounts()
    assert ages(await page(reader(store, counts=counts))) == [0, 1]
    assert counts.malformed_lines == 3


async def test_an_object_that_is_deleted_meanwhile_is_skipped() -> None:
    store = await one_line_objects(NOW - n * SECOND for n in range(5))

    class Deleting(CountingObjectStore):
        async def get(self, key: str) -> bytes | None:
            return None if str(NOW - 2 * SECOND) in key else await super().get(key)

    assert ages(await page(reader(Deleting(store)))) == [0, 1, 3, 4]


async def test_entries_with_one_timestamp_stay_on_one_page() -> None:
    store = MemoryObjectStore()
    await put_object(store, NOW - 9, NOW)
    twins = [search_line(NOW - 5, tags=(f"t{n}",)) for n in range(3)]
    read = reader(store, tails=[twins])
    shown = [[NOW - e.timestamp_nanos for e in p.entries] for p in await walk(read, 2)]
    assert shown == [[0], [5, 5, 5], [9]]


async def test_a_filter_that_matches_little_gives_short_pages_with_cursors() -> None:
    store = await one_line_objects(NOW - n * SECOND for n in range(300))
    await put_object(store, NOW - 400 * SECOND)
    key = object_key(*STREAM, ObjectName(day_of(NOW), NOW - 401 * SECOND))
    await store.put(key, search_line(NOW - 401 * SECOND, tags=("rare",)))
    read = reader(store, limits=ReadLimits(objects=64))
    pages = await walk(read, 10, tags=frozenset({"rare"}))
    assert 3 < len(pages) < 10
    assert [age for p in pages for age in ages(p)] == [401]
    assert pages[0].entries == []


async def test_time_bounds_a_page() -> None:
    clock = ManualClock(NOW)

    class Slow(CountingObjectStore):
        async def get(self, key: str) -> bytes | None:
            clock.tick(SECOND // 2)
            return await super().get(key)

    store = Slow(await one_line_objects(NOW - n * SECOND for n in range(200)))
    read = reader(store, clock=clock)
    first = await page(read, 100)
    assert 0 < len(first.entries) < 100
    assert first.next_cursor is not None
    assert store.counts.get < 50
    found = [age for p in await walk(read, 100) for age in ages(p)]
    assert found == list(range(200))


async def test_bodies_come_from_the_cache_the_second_time() -> None:
    store = CountingObjectStore(await one_line_objects(NOW - n * SECOND for n in range(60)))
    cache = MemoryCache(ManualClock())
    first = await page(reader(store, cache=cache))
    gets = store.counts.get
    assert await page(reader(store, cache=cache)) == first
    assert store.counts.get == gets


async def test_a_cache_that_is_down_costs_only_time() -> None:
    store = await one_line_objects(NOW - n * SECOND for n in range(60))
    cache = FailingCache(MemoryCache(ManualClock()))
    cache.down = True
    assert len((await page(reader(store, cache=cache))).entries) == 50


async def test_a_store_that_is_down_is_an_error() -> None:
    store = FlakyObjectStore(MemoryObjectStore(), clock=ManualClock(), seed=1, error_before_rate=1)
    with pytest.raises(StoreUnavailableError) as caught:
        await page(reader(store))
    assert caught.value.kind is ErrorKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("count", "spacing"),
    [
        (1_000, SECOND // 2),
        (1_000, 3600 * SECOND),
        (40_000, SECOND),
        (220_000, DAY_NANOS // 200_000),
        (220_000, 150 * SECOND),
    ],
)
async def test_a_page_costs_the_same_at_any_length(count: int, spacing: int) -> None:
    """At most 4 LISTs, and a GET an object of the page and two more, on page 1 and page 200."""
    memory = MemoryObjectStore()
    for n in range(count, 0, -1):
        stamp = NOW - n * spacing
        memory.objects[object_key(*STREAM, ObjectName(day_of(stamp), stamp))] = search_line(stamp)
    memory._keys = sorted(memory.objects)
    store = CountingObjectStore(memory)
    read = reader(store)
    query = PageQuery(50)
    seen: list[int] = []
    for number in range(1, min(200, count // 50) + 1):
        lists, gets = store.counts.list + store.counts.list_children, store.counts.get
        found = await read(STREAM, SearchEntry, query)
        seen += [entry.timestamp_nanos for entry in found.entries]
        assert len(found.entries) == 50
        if number in (1, 2, 20, 200):
            assert store.counts.list + store.counts.list_children - lists <= 4
            assert store.counts.get - gets <= 52
        if found.next_cursor is None:
            break
        query = PageQuery(50, newest=found.next_cursor - 1)
    assert seen == [NOW - n * spacing for n in range(1, len(seen) + 1)]


@pytest.mark.parametrize("silent_hours", [0, 0.02, 1, 3, 12])
async def test_page_1_again_takes_two_lists_however_long_the_trail_is_silent(
    silent_hours: float,
) -> None:
    times = range(NOW - NOW % DAY_NANOS, NOW - NOW % DAY_NANOS + 11 * 3600 * SECOND, SECOND)
    keys = {stamp: object_key(*STREAM, ObjectName(day_of(stamp), stamp)) for stamp in times}
    memory = MemoryObjectStore({key: search_line(stamp) for stamp, key in keys.items()})
    store = CountingObjectStore(memory)
    read = reader(store, clock=ManualClock(times[-1] + round(silent_hours * 3600 * SECOND)))

    async def lists_of_page_1(newest: int) -> int:
        before = store.counts.list + store.counts.list_children
        found = await page(read)
        assert found.entries[0].timestamp_nanos == newest
        return store.counts.list + store.counts.list_children - before

    # To find where it ended may take a search.
    assert await lists_of_page_1(times[-1]) <= (10 if silent_hours else 3)
    assert await lists_of_page_1(times[-1]) == 2
    # It may have grown since: 100 objects are within the same window.
    for n in range(1, 101):
        await put_object(memory, times[-1] + n * SECOND)
    assert await lists_of_page_1(times[-1] + 100 * SECOND) == 2
    # Entries may have been erased: the guess is wrong, the page is not.
    await memory.delete(list(memory.objects)[-3_000:])
    assert await lists_of_page_1(times[-1] - 2_900 * SECOND) <= 12
    assert await lists_of_page_1(times[-1] - 2_900 * SECOND) == 2
