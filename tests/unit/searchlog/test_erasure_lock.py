"""The lock of erasures."""

from __future__ import annotations

import pytest

from services.searchlog.erasure_lock import LOCK_KEY, ErasureLock, ErasureLockedError
from services.storage.object_store import StoreUnavailableError
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore


async def test_it_is_held_by_one_and_given_back_even_after_a_failure() -> None:
    store, clock = MemoryObjectStore(), FakeClock()

    async def fail_inside() -> None:
        async with ErasureLock(store, clock, holder="one").held():
            with pytest.raises(ErasureLockedError, match="by one"):
                async with ErasureLock(store, clock, holder="two").held():
                    pytest.fail("two at a time")
            assert LOCK_KEY in store.objects, "the one that was refused gave it back"
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        await fail_inside()
    assert store.objects == {}


async def test_a_put_whose_answer_was_lost_is_found_again() -> None:
    clock, memory = FakeClock(), MemoryObjectStore()
    flaky = FlakyObjectStore(memory, clock=clock, seed=1, error_after_rate=1.0)
    with pytest.raises(StoreUnavailableError):
        async with ErasureLock(flaky, clock, holder="one").held():
            pytest.fail("its answer was lost")
    assert LOCK_KEY in memory.objects
    # As the retries under it would: the same put again.
    async with ErasureLock(memory, clock, holder="one").held():
        pass
    assert memory.objects == {}


async def test_something_else_under_its_key_is_no_holder_to_name() -> None:
    store = MemoryObjectStore({LOCK_KEY: b"not ours"})
    with pytest.raises(ErasureLockedError, match="by an unknown one"):
        async with ErasureLock(store, FakeClock(), holder="one").held():
            pytest.fail("it was taken")
