"""A failing cache looks like an empty one, and costs little."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from services.cache.best_effort import BestEffortCache
from services.cache.cache import CacheUnavailableError
from services.cache.guarded import GuardCounts, GuardedCache, GuardPolicy
from services.cache.lmdb_cache import LmdbCache
from services.cache.no_cache import NoCache
from tests.doubles.failing_cache import FailingCache
from tests.doubles.fake_clock import FakeClock

POLICY = GuardPolicy(call_timeout_seconds=0.01, failures_to_open=3, open_seconds=5)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def failing() -> FailingCache:
    return FailingCache(NoCache())


@pytest.fixture
def guarded(failing: FailingCache, clock: FakeClock) -> GuardedCache:
    return GuardedCache(failing, clock=clock, policy=POLICY)


@pytest.fixture
def cache(guarded: GuardedCache) -> BestEffortCache:
    return BestEffortCache(guarded)


@pytest.mark.parametrize("failure", ["down", "stuck"])
async def test_failures_are_misses(failing: FailingCache, clock: FakeClock, failure: str) -> None:
    patient = GuardPolicy(call_timeout_seconds=0.01, failures_to_open=100)
    guarded = GuardedCache(failing, clock=clock, policy=patient)
    cache = BestEffortCache(guarded)
    setattr(failing, failure, True)
    assert await cache.get_many(["a"]) == {}
    assert await cache.put_many({"a": b"1"}) == 0
    await cache.delete(["a"])
    assert await cache.put_member("g", "m", b"1", ttl_seconds=1) is False
    assert await cache.members("g") == {}
    errors, timeouts = (5, 0) if failure == "down" else (0, 5)
    assert guarded.counts == GuardCounts(errors=errors, timeouts=timeouts)
    with pytest.raises(CacheUnavailableError):
        await guarded.get_many(["a"])


async def test_a_cache_that_keeps_failing_is_left_alone_for_a_while(
    cache: BestEffortCache, guarded: GuardedCache, failing: FailingCache, clock: FakeClock
) -> None:
    failing.down = True
    for _ in range(10):
        await cache.get_many(["a"])
    assert failing.calls == 3
    assert guarded.counts.skipped == 7
    clock.advance(5.1)
    for _ in range(10):
        await cache.get_many(["a"])
    assert failing.calls == 4, "one call sees whether it is back"


async def test_a_cache_that_is_back_is_used_again(
    cache: BestEffortCache, failing: FailingCache, clock: FakeClock
) -> None:
    failing.down = True
    for _ in range(3):
        await cache.get_many(["a"])
    failing.down = False
    clock.advance(5.1)
    for _ in range(10):
        await cache.get_many(["a"])
    assert failing.calls == 13


async def test_an_outage_is_two_lines_in_the_log(
    cache: BestEffortCache,
    failing: FailingCache,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="services.cache")
    failing.down = True
    for _ in range(30):
        await cache.get_many(["a"])
        clock.advance(1)
    failing.down = False
    clock.advance(5.1)
    for _ in range(3):
        await cache.get_many(["a"])
    assert [record.getMessage() for record in caplog.records] == [
        "cache is left alone while it fails",
        "cache is used again",
    ]
    assert vars(caplog.records[0])["cause"] == "cache is down"


async def test_failures_between_answers_do_not_add_up(
    cache: BestEffortCache, failing: FailingCache
) -> None:
    for number in range(20):
        failing.down = number % 3 != 0
        await cache.get_many(["a"])
    assert failing.calls == 20


async def test_answers_pass_through(tmp_path: Path, clock: FakeClock) -> None:
    async with LmdbCache(tmp_path, map_size_bytes=64 << 20, clock=clock) as lmdb:
        guarded = GuardedCache(lmdb, clock=clock)
        cache = BestEffortCache(guarded)
        assert await cache.put_many({"a": b"1"}) == 1
        assert await cache.get_many(["a"]) == {"a": b"1"}
        assert guarded.counts == GuardCounts()


async def test_no_cache_keeps_nothing() -> None:
    cache = NoCache()
    assert await cache.put_many({"a": b"1"}) == 0
    assert await cache.put_member("g", "m", b"1", ttl_seconds=1) is False
    assert await cache.get_many(["a"]) == {}
    assert await cache.members("g") == {}
    await cache.delete(["a"])
