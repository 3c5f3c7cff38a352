"""What becomes of a store that overwrites, and of one that does not answer."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.storage.conditional_writes import (
    CHECK_KEY,
    UnconditionalStoreError,
    conditions_checked,
)
from services.storage.counting import CountingObjectStore
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.overwriting_object_store import OverwritingObjectStore

RNG = random.Random(1)


async def test_a_store_that_honours_conditions_costs_two_requests_and_then_one() -> None:
    store = CountingObjectStore(MemoryObjectStore())
    for requests in (2, 3, 4):
        async with conditions_checked(store, FakeClock(), RNG):
            assert store.counts.put == requests


async def test_a_store_that_overwrites_is_refused() -> None:
    store = OverwritingObjectStore()
    with pytest.raises(UnconditionalStoreError, match="If-None-Match"):
        async with conditions_checked(store, FakeClock(), RNG):
            pytest.fail("the context opened")


async def test_no_lost_answer_makes_a_good_store_a_bad_one() -> None:
    for seed in range(50):
        clock = FakeClock()
        flaky = FlakyObjectStore(
            MemoryObjectStore(), clock=clock, seed=seed, error_before_rate=0.2, error_after_rate=0.3
        )
        async with conditions_checked(flaky, clock, RNG):
            pass


async def test_a_store_that_is_away_is_asked_until_it_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    memory = OverwritingObjectStore()
    store = FlakyObjectStore(memory, clock=clock, seed=1, error_before_rate=1.0)
    opened = False

    async def use() -> None:
        nonlocal opened
        async with conditions_checked(store, clock, RNG, wait_seconds=0.01):
            opened = True
            assert CHECK_KEY not in memory.objects
            store.error_before_rate = 0.0
            await asyncio.sleep(10)

    with pytest.raises(UnconditionalStoreError):
        await use()
    assert opened
    assert 0 < max(clock.slept) <= 60
    assert "object store cannot be used yet" in caplog.messages


async def test_the_owner_s_own_errors_pass_as_they_are() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with conditions_checked(MemoryObjectStore(), FakeClock(), RNG):
            raise ValueError("mine")
