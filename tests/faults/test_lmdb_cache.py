"""Real processes that share an LMDB cache, one of them killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.cache.cache import CacheUnavailableError
from tests.faults.lmdb_program import KEYS_EACH, MAP_BYTES, body_of, cache_in
from tests.faults.processes import lines, running

PROGRAM = "tests.faults.lmdb_program"


@pytest.mark.parametrize("killed_after", [1, 50, 333])
async def test_a_killed_process_harms_neither_the_others_nor_the_values(
    tmp_path: Path, killed_after: int
) -> None:
    with running(PROGRAM, tmp_path, "x") as x, running(PROGRAM, tmp_path, "y") as y:
        lines(y, 1)
        lines(x, killed_after)
        x.kill()
        x.wait()
        lines(y, 2 * KEYS_EACH)
        async with cache_in(tmp_path) as cache:
            keys = [f"{name}/{number}" for name in "xy" for number in range(KEYS_EACH)]
            found = await cache.get_many(keys)
            assert {f"y/{number}" for number in range(KEYS_EACH)} <= set(found)
            assert {f"x/{number}" for number in range(min(killed_after, KEYS_EACH))} <= set(found)
            for key, value in found.items():
                assert value == body_of(key)
            # It can be written, too: the dead one's lock is not in the way.
            assert await cache.put_many({"z": b"1"}) == 1


async def test_a_reader_killed_in_the_middle_does_not_fill_the_map(tmp_path: Path) -> None:
    # What it read stays, as long as it counts as reading: every change takes new pages.
    async with cache_in(tmp_path) as cache:
        await cache.put_many({"kept": b"x"})
        with running(PROGRAM, tmp_path, "--read") as reader:
            lines(reader, 1)
            reader.kill()
            reader.wait()
        for number in range(2 * MAP_BYTES // 400_000):
            assert await cache.put_many({"rewritten": bytes(400_000)}) == 1, number
        assert await cache.get_many(["kept"]) == {"kept": b"x"}
        assert cache.counts.emptied == 0
        assert cache.counts.evicted == 0


async def test_a_reader_that_hangs_costs_the_values_and_no_more(tmp_path: Path) -> None:
    async with cache_in(tmp_path) as cache:
        await cache.put_many({"a": b"x"})
        with running(PROGRAM, tmp_path, "--read") as reader:
            lines(reader, 1)
            kept = failed = 0
            for _ in range(3 * MAP_BYTES // 400_000):
                try:
                    kept += await cache.put_many({"rewritten": bytes(400_000)})
                except CacheUnavailableError:
                    failed += 1
        assert failed == cache.counts.emptied == 1
        assert kept > MAP_BYTES // 400_000
