"""The host's clock is set back or on: no entry is lost, none is shown twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.formats.trail import SearchEntry
from services.searchlog.page_query import PageQuery
from services.searchlog.writer import Receipt
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import open_bench, searches


@pytest.mark.parametrize("step_seconds", [-10.0, -3_600.0, 10.0, 3_600.0])
@pytest.mark.parametrize("flushed", [True, False])
async def test_cursors_visit_each_entry_once_whatever_the_clock_does(
    tmp_path: Path, step_seconds: float, *, flushed: bool
) -> None:
    clock = ManualClock()
    store, cache = MemoryObjectStore(), MemoryCache(clock)
    async with open_bench(tmp_path, store, cache, clock) as bench:
        stamps: list[int] = []
        for number in range(40):
            if number == 20:
                clock.step(step_seconds)
            answer = bench.keep("n", clock.now_ns(), raw_query=str(number))
            assert isinstance(answer, Receipt)
            stamps.append(answer.stamp)
            await clock.advance(1.0)
        if flushed:
            await clock.advance(20.0)
            assert bench.writer.unstored(searches("n")) == []
        assert len(set(stamps)) == len(stamps)
        found: list[str | None] = []
        query = PageQuery(limit=7)
        while True:
            page = await bench.reader(searches("n"), SearchEntry, query)
            found += [entry.raw_query for entry in page.entries]
            if page.next_cursor is None:
                break
            query = PageQuery(limit=7, newest=page.next_cursor - 1)
    by_time = sorted(zip(stamps, map(str, range(40)), strict=True), reverse=True)
    assert found == [name for _, name in by_time]
