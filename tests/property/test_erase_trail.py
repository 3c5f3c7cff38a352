"""Random trails, erased by tag through a store that fails: only what matches is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.core.errors import LayerError
from services.formats.trail import SearchEntry, decode_head, split_lines
from services.formats.trail_keys import (
    DAY_NANOS,
    MAX_SPAN_NANOS,
    NAME_SLACK_NANOS,
    day_of,
    parse_object_key,
)
from services.searchlog.erase_trail import Erased, EraseTrail, ErasureQuery
from services.searchlog.page_query import PageQuery
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import Bench, open_bench, searches
from tests.doubles.stored_trail import search_line
from tests.property.test_search_trail import ALMOST_MIDNIGHT
from tests.unit.searchlog.test_erase_trail import put_lines

TAGS = ("session:mine", "session:other", "ab:b")

gaps = st.sampled_from((1, 2, 10**3, 10**9, 20 * 10**9))
entries = st.lists(st.tuples(gaps, st.sets(st.sampled_from(TAGS))), min_size=1, max_size=40)


async def build(
    store: MemoryObjectStore, drawn: list[tuple[int, set[str]]], per_object: int
) -> dict[int, set[str]]:
    """Objects that keep the invariants of the layout; the tags by time."""
    tags: dict[int, set[str]] = {}
    batch: list[tuple[int, bytes]] = []
    at = ALMOST_MIDNIGHT
    for gap, tagged in drawn:
        at += gap
        crosses = bool(batch) and (
            at - batch[0][0] > MAX_SPAN_NANOS or at // DAY_NANOS != batch[0][0] // DAY_NANOS
        )
        if batch and (crosses or len(batch) >= per_object):
            await put_lines(store, *(line for _, line in batch), name=batch[-1][0])
            batch = []
        tags[at] = tagged
        batch.append((at, search_line(at, tags=sorted(tagged))))
    await put_lines(store, *(line for _, line in batch), name=batch[-1][0])
    return tags


async def walk(bench: Bench, limit: int) -> list[int]:
    found: list[int] = []
    query = PageQuery(limit)
    while True:
        page = await bench.reader(searches("n"), SearchEntry, query)
        found += [entry.timestamp_nanos for entry in page.entries]
        if page.next_cursor is None:
            return found
        query = PageQuery(limit, newest=page.next_cursor - 1)


async def erase_at_last(store: FlakyObjectStore, cache: MemoryCache, query: ErasureQuery) -> None:
    """Run it as a person would: again, until it does not fail. Every store comes back at last."""
    for _ in range(20):
        try:
            await EraseTrail(store, cache)(query)
        except LayerError:
            continue
        return
    store.error_before_rate = store.error_after_rate = 0.0
    await EraseTrail(store, cache)(query)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    drawn=entries,
    per_object=st.integers(1, 9),
    limit=st.integers(1, 12),
    seed=st.integers(0, 2**16),
    rate=st.sampled_from((0.0, 0.2)),
)
async def test_an_erased_tag_is_never_shown_and_all_else_exactly_once(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[int, set[str]]],
    per_object: int,
    limit: int,
    seed: int,
    rate: float,
) -> None:
    folder: Path = tmp_path_factory.mktemp("erase")
    clock = FakeClock()
    memory = MemoryObjectStore()
    tags = await build(memory, drawn, per_object)
    flaky = FlakyObjectStore(
        memory, clock=clock, seed=seed, error_before_rate=rate, error_after_rate=rate
    )
    cache = MemoryCache(clock)
    async with open_bench(folder, memory, cache, clock) as bench:
        assert await walk(bench, limit) == sorted(tags, reverse=True)
        erased = {at for at, tagged in tags.items() if "session:mine" in tagged}
        query = ErasureQuery(tags=frozenset({"session:mine"}))
        await erase_at_last(flaky, cache, query)
        assert await walk(bench, limit) == sorted(tags.keys() - erased, reverse=True)
    for key, body in memory.objects.items():
        name = parse_object_key(*searches("n"), key)
        stamps = [head.timestamp_nanos for head in map(decode_head, split_lines(body)) if head]
        assert name is not None
        assert stamps == sorted(stamps)
        assert stamps[-1] <= name.nanos <= stamps[0] + MAX_SPAN_NANOS + NAME_SLACK_NANOS
        assert {day_of(stamp) for stamp in stamps} == {name.day}
    assert set(cache.values) <= set(memory.objects), "a copy outlived its object"
    left = await EraseTrail(memory, cache)(query)
    assert left == Erased(objects_read=len(memory.objects))
