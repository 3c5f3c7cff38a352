"""Erasure takes out what matches, keeps the rest, and can be cut off anywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.core.errors import LayerError
from services.core.ids import parse_namespace
from services.formats.trail import SearchEntry
from services.formats.trail_keys import (
    MAX_SPAN_NANOS,
    ObjectName,
    TrailKind,
    day_of,
    object_key,
    parse_object_key,
)
from services.searchlog.erase_trail import Erased, EraseTrail, ErasureQuery
from services.searchlog.erase_until_gone import erase_until_gone
from services.searchlog.page_query import PageQuery
from services.storage.object_store import StoreUnavailableError
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import open_bench, searches
from tests.doubles.stopping_object_store import StoppingObjectStore
from tests.doubles.stored_trail import search_line

START = 1_790_000_000_000_000_000
NAMESPACE = parse_namespace("n")
TRACE = "f81d4fae7dec11d0a76500a0c91e6bf6"
MINE = ErasureQuery(tags=frozenset({"session:mine"}))
TAGS = {True: ("session:mine",), False: ("session:other",)}


async def put_lines(
    store: MemoryObjectStore, *lines: bytes, name: int, namespace: str = "n"
) -> str:
    key = object_key(TrailKind.SEARCHES, parse_namespace(namespace), ObjectName(day_of(name), name))
    await store.put(key, b"\n".join(lines) + b"\n")
    return key


async def shown(store: MemoryObjectStore, folder: Path, limit: int = 3) -> list[int]:
    """The times that lists show, by following cursors."""
    clock = ManualClock(START)
    found: list[int] = []
    query = PageQuery(limit)
    async with open_bench(folder, store, MemoryCache(clock), clock) as bench:
        while True:
            page = await bench.reader(searches("n"), SearchEntry, query)
            found += [entry.timestamp_nanos for entry in page.entries]
            if page.next_cursor is None:
                return found
            query = PageQuery(limit, newest=page.next_cursor - 1)


def eraser(store: MemoryObjectStore) -> EraseTrail:
    return EraseTrail(store, MemoryCache(ManualClock(START)))


async def test_what_remains_stands_under_the_next_free_name(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    lines = [search_line(START + n, tags=TAGS[n == 1]) for n in range(3)]
    old = await put_lines(store, *lines, name=START + 2)
    taken = await put_lines(store, search_line(START + 3), name=START + 3)
    done = await eraser(store)(MINE)
    assert done == Erased(objects_read=2, objects_rewritten=1, entries=1)
    assert old not in store.objects
    new = next(key for key in store.objects if key != taken)
    assert parse_object_key(*searches("n"), new) == ObjectName(day_of(START), START + 4)
    assert store.objects[new] == lines[0] + b"\n" + lines[2] + b"\n"
    assert await shown(store, tmp_path) == [START + 3, START + 2, START]


async def test_an_object_of_which_nothing_remains_is_deleted_with_its_cached_copy() -> None:
    store, cache = MemoryObjectStore(), MemoryCache(ManualClock(START))
    key = await put_lines(store, search_line(START, tags=TAGS[True]), name=START)
    await cache.put_many({key: store.objects[key]})
    done = await EraseTrail(store, cache)(MINE)
    assert done == Erased(objects_read=1, objects_deleted=1, entries=1)
    assert not store.objects
    assert not cache.values


async def test_a_dry_run_counts_the_same_and_writes_nothing() -> None:
    store = MemoryObjectStore()
    await put_lines(
        store, search_line(START, tags=TAGS[True]), search_line(START + 1), name=START + 1
    )
    await put_lines(store, search_line(START + 2, tags=TAGS[True]), name=START + 2)
    before = dict(store.objects)
    looked = await eraser(store)(MINE, dry_run=True)
    assert store.objects == before
    assert looked == Erased(objects_read=2, objects_rewritten=1, objects_deleted=1, entries=2)


async def test_trace_and_namespace_narrow_what_a_tag_matches() -> None:
    store = MemoryObjectStore()
    for namespace in ("a", "b"):
        lines = [
            search_line(START, tags=TAGS[True]),
            search_line(START + 1, tags=TAGS[True], trace_id=TRACE),
            search_line(START + 2, trace_id=TRACE),
        ]
        await put_lines(store, *lines, name=START + 2, namespace=namespace)
    tags = frozenset({"session:mine"})
    a = parse_namespace("a")
    assert (await eraser(store)(ErasureQuery(a, tags, TRACE))).entries == 1
    assert (await eraser(store)(ErasureQuery(a, trace_id=TRACE))).entries == 1
    assert (await eraser(store)(ErasureQuery(trace_id=TRACE))).entries == 2
    assert (await eraser(store)(ErasureQuery(tags=tags))).entries == 2


async def test_a_namespace_goes_as_a_whole_of_both_kinds() -> None:
    store = MemoryObjectStore()
    for kind in TrailKind:
        for namespace in ("n", "n2"):
            for second in range(1_100):
                name = ObjectName(day_of(START), START + second * 10**9)
                await store.put(object_key(kind, parse_namespace(namespace), name), b"{}\n")
    done = await eraser(store)(ErasureQuery(NAMESPACE))
    assert done == Erased(objects_deleted=2_200)
    assert len(store.objects) == 2_200
    assert all("/n2/" in key for key in store.objects)


def test_an_erasure_of_everything_is_refused() -> None:
    with pytest.raises(LayerError, match="name a tag"):
        ErasureQuery()


async def test_lines_that_are_no_entries_and_foreign_keys_stay() -> None:
    store = MemoryObjectStore()
    await put_lines(store, b'{"tags":["session:mine"]', search_line(START), name=START)
    await store.put("search-history/n/readme", search_line(START, tags=TAGS[True]))
    assert await eraser(store)(MINE) == Erased(objects_read=1)


@pytest.mark.parametrize("writes", range(9))
async def test_a_crash_after_any_write_loses_nothing_and_the_next_run_ends_it(
    tmp_path: Path, writes: int
) -> None:
    store = MemoryObjectStore()
    others: list[int] = []
    for start in range(START, START + 40, 10):
        stamps = range(start, start + 4)
        lines = [search_line(at, tags=TAGS[at % 2 == 0]) for at in stamps]
        await put_lines(store, *lines, name=start + 3)
        others += [at for at in stamps if at % 2]
    stopping = StoppingObjectStore(store, writes)
    erase = EraseTrail(stopping, MemoryCache(ManualClock(START)))
    if writes < 8:
        with pytest.raises(StoreUnavailableError):
            await erase(MINE)
    else:
        await erase(MINE)
    assert stopping.stopped == (writes < 8)
    midway = await shown(store, tmp_path / "midway")
    assert len(midway) == len(set(midway))
    assert set(others) <= set(midway)
    await eraser(store)(MINE)
    assert await shown(store, tmp_path / "after") == sorted(others, reverse=True)
    assert len(store.objects) == 4, "a put that had landed is not repeated under another name"


async def test_entries_a_minute_below_a_raised_name_are_found_by_a_cursor(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    oldest, newest = START, START + MAX_SPAN_NANOS
    lines = [search_line(oldest), search_line(newest - 1), search_line(newest, tags=TAGS[True])]
    await put_lines(store, *lines, name=newest)
    await eraser(store)(MINE)
    assert await shown(store, tmp_path, limit=1) == [newest - 1, oldest]


async def test_no_name_is_given_that_readers_would_not_take(tmp_path: Path) -> None:
    midnight = 1_790_035_200_000_000_000
    store = MemoryObjectStore()
    namespace = searches("n")
    name = ObjectName(day_of(midnight - 1), midnight + 999)
    lines = [search_line(midnight - 2), search_line(midnight - 1, tags=TAGS[True])]
    await store.put(object_key(*namespace, name), b"\n".join(lines) + b"\n")
    with pytest.raises(LayerError, match="no free name"):
        await eraser(store)(MINE)
    assert len(await shown(store, tmp_path)) == 2


async def test_waiting_erases_what_was_not_stored_yet(tmp_path: Path) -> None:
    clock = ManualClock(START)
    store, cache = MemoryObjectStore(), MemoryCache(clock)
    async with open_bench(tmp_path, store, cache, clock) as bench:
        bench.keep("n", START, tags=TAGS[True])
        bench.keep("n", START, tags=TAGS[False])
        await clock.settle()
        erasing = asyncio.create_task(
            erase_until_gone(EraseTrail(store, cache), MINE, clock, pause_seconds=20)
        )
        while not erasing.done():
            await clock.advance(1)
        assert (await erasing).entries == 1
        page = await bench.reader(searches("n"), SearchEntry, PageQuery(10))
    assert [entry.tags for entry in page.entries] == [("session:other",)]
