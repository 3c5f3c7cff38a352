"""What is tried again, how often, and what a lost answer to a conditional put means."""

from __future__ import annotations

import random

import pytest

from services.storage.object_store import (
    InvalidKeyError,
    ObjectStore,
    StoreRefusedError,
    StoreUnavailableError,
)
from services.storage.retrying import RetryingObjectStore, RetryPolicy
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore


class FailingPuts(MemoryObjectStore):
    """Fails puts as a list of errors says, before or after their effect."""

    def __init__(self, *failures: tuple[str, StoreUnavailableError]) -> None:
        super().__init__()
        self.failures = list(failures)
        self.puts = 0

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        self.puts += 1
        moment, error = self.failures.pop(0) if self.failures else ("", None)
        if error and moment == "before":
            raise error
        written = await super().put(key, body, if_absent=if_absent)
        if error:
            raise error
        return written


UNAVAILABLE = StoreUnavailableError("500")


def retrying(inner: ObjectStore, clock: FakeClock | None = None) -> RetryingObjectStore:
    return RetryingObjectStore(
        inner,
        clock=clock or FakeClock(),
        rng=random.Random(1),
        policy=RetryPolicy(attempts=4, first_delay_seconds=1.0, max_delay_seconds=3.0),
    )


async def test_failures_are_repeated_until_one_works() -> None:
    inner = FailingPuts(("before", UNAVAILABLE), ("before", UNAVAILABLE))
    store = retrying(inner)
    assert await store.put("a", b"1") is True
    assert (inner.puts, store.retries) == (3, 2)


async def test_attempts_and_waits_are_bounded() -> None:
    clock = FakeClock()
    inner = FailingPuts(*[("before", UNAVAILABLE)] * 10)
    with pytest.raises(StoreUnavailableError):
        await retrying(inner, clock).put("a", b"1")
    assert inner.puts == 4
    assert len(clock.slept) == 3
    for waited, bound in zip(clock.slept, (1.0, 2.0, 3.0), strict=True):
        assert 0 <= waited <= bound


def test_waits_are_spread_over_the_whole_bound() -> None:
    policy = RetryPolicy(first_delay_seconds=1.0, max_delay_seconds=3.0)
    rng = random.Random(1)
    waits = [policy.delay_seconds(9, rng) for _ in range(1000)]
    assert min(waits) < 0.1
    assert 2.9 < max(waits) <= 3.0


async def test_refusals_are_not_repeated() -> None:
    inner = FailingPuts(("before", StoreRefusedError("403")))
    with pytest.raises(StoreRefusedError):
        await retrying(inner).put("a", b"1")
    assert inner.puts == 1


async def test_invalid_keys_are_not_repeated() -> None:
    inner = FailingPuts()
    with pytest.raises(InvalidKeyError):
        await retrying(inner).put("/a", b"1")
    assert inner.puts == 1


async def test_a_conditional_put_whose_answer_was_lost_is_ours() -> None:
    inner = FailingPuts(("after", UNAVAILABLE))
    assert await retrying(inner).put("a", b"ours", if_absent=True) is True
    assert inner.objects == {"a": b"ours"}


async def test_a_conditional_put_that_another_writer_won_meanwhile_is_not() -> None:
    inner = FailingPuts(("before", UNAVAILABLE))
    await MemoryObjectStore.put(inner, "a", b"theirs")
    assert await retrying(inner).put("a", b"ours", if_absent=True) is False
    assert inner.objects == {"a": b"theirs"}


async def test_a_conditional_put_without_an_error_needs_no_look() -> None:
    inner = FailingPuts()
    await inner.put("a", b"equal")
    assert await retrying(inner).put("a", b"equal", if_absent=True) is False


@pytest.mark.parametrize("seed", range(20))
async def test_each_conditional_put_has_one_winner_however_flaky(seed: int) -> None:
    clock = FakeClock()
    flaky = FlakyObjectStore(
        MemoryObjectStore(),
        clock=clock,
        seed=seed,
        error_before_rate=0.25,
        error_after_rate=0.25,
    )
    store = RetryingObjectStore(
        flaky, clock=clock, rng=random.Random(seed), policy=RetryPolicy(attempts=50)
    )
    for number in range(20):
        won = [await store.put(str(number), writer.encode(), if_absent=True) for writer in "xyz"]
        assert won == [True, False, False]
    assert flaky.errors_before > 0
    assert flaky.errors_after > 0
