"""Whatever the density, every name is listed once, newest first, and nothing below the ceiling
has been promised."""

from __future__ import annotations

import random

import pytest

from services.formats.trail_keys import DAY_NANOS, ObjectName, day_of, object_key
from services.searchlog.object_names import ObjectNames, Recent, list_days
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import searches

START = 1_790_000_000_000_000_000
STREAM = searches("n")


def random_times(rng: random.Random) -> list[int]:
    """Bursts and silences over some days."""
    times: set[int] = set()
    at = START
    for _ in range(rng.randrange(1, 7)):
        at += rng.choice((0, 10**9, 3600 * 10**9, DAY_NANOS, 5 * DAY_NANOS))
        gap = rng.choice((1, 10**3, 10**6, 10**9, 60 * 10**9))
        for _ in range(rng.choice((1, 3, 999, 1000, 1001, 2500))):
            at += rng.randrange(1, 2 * gap + 1)
            times.add(at)
    return sorted(times)


@pytest.mark.parametrize("seed", range(40))
async def test_all_names_are_listed_once_newest_first(seed: int) -> None:
    rng = random.Random(seed)
    times = random_times(rng)
    store = MemoryObjectStore()
    for nanos in times:
        await store.put(object_key(*STREAM, ObjectName(day_of(nanos), nanos)), b"")
    for n in range(rng.choice((0, 1, 1500))):
        await store.put(f"search-history/n/{day_of(times[0])}/foreign-{n}", b"")
        await store.put(f"search-history/n/{day_of(times[-1])}/0-{n}", b"")
    await store.put("search-history/n/not-a-day/1", b"")
    oldest, newest = sorted(
        rng.choice([times[0] - 5, times[-1] + 5, rng.choice(times)]) for _ in "ab"
    )

    names = ObjectNames(
        store,
        STREAM,
        await list_days(store, STREAM),
        oldest=oldest,
        newest=newest,
        now_ns=rng.choice((times[-1], times[-1] + 10**12, times[0])),
        recent=rng.choice((None, Recent(rng.choice(times), rng.choice((0, 1, 10**9, 10**15))))),
    )
    found: list[int] = []
    while not names.exhausted:
        ceiling = names.ceiling
        block = [name.nanos for name in await names.next_block()]
        assert all(names.ceiling <= nanos < ceiling for nanos in block), f"seed {seed}"
        found += block
        assert names.lists < 300, f"seed {seed}"
    assert found == [n for n in reversed(times) if oldest <= n <= newest], f"seed {seed}"


async def test_no_days_no_names() -> None:
    names = ObjectNames(MemoryObjectStore(), STREAM, [], oldest=START, newest=START, now_ns=START)
    assert names.exhausted
