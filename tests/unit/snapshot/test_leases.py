"""Leases: one holder at a time, whatever fails, pauses or races."""

from __future__ import annotations

import asyncio

import pytest

from services.formats.snapshot_keys import lease_key, parse_lease_key
from services.formats.snapshot_lease import LeaseRecord, ScanState, decode_lease, encode_lease
from services.snapshot.leases import HeldLease, Leases
from services.storage.object_store import StoreUnavailableError
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.gated_object_store import GatedObjectStore
from tests.unit.snapshot.replicas import NS, Replicas

STATE = ScanState("2026-09-21T14:00:00Z", ("color",), 1_790_000_000_000)


async def take(leases: Leases) -> HeldLease | None:
    view = await leases.read(NS)
    assert view is not None
    return await leases.take(view)


def test_keys_and_records_read_back() -> None:
    assert lease_key(NS, 12) == "snapshot-leases/products/0000000000000012"
    assert parse_lease_key(NS, lease_key(NS, 12)) == 12
    assert parse_lease_key(NS, "snapshot-leases/products/notes.txt") is None
    record = LeaseRecord("a/1", 5, STATE)
    assert decode_lease(encode_lease(record)) == record
    assert decode_lease(b"{") is None


async def test_only_one_holds_and_the_next_has_a_greater_token() -> None:
    replicas = Replicas()
    a, b = replicas.replica("a").leases, replicas.replica("b").leases
    held = await take(a)
    assert held is not None
    assert await take(b) is None
    await held.give_back(STATE)
    view = await b.read(NS)
    assert view is not None
    assert view.record.state == STATE
    second = await b.take(view)
    assert second is not None
    assert second.generation > held.generation
    assert len(replicas.generations) == 1


async def test_a_lease_given_back_without_news_keeps_the_state() -> None:
    replicas = Replicas()
    leases = replicas.replica("a").leases
    for news in (STATE, None):
        held = await take(leases)
        assert held is not None
        await held.give_back(news)
    view = await leases.read(NS)
    assert view is not None
    assert view.record.state == STATE


async def test_an_expired_lease_is_taken_after_the_margin_and_not_before() -> None:
    replicas = Replicas()
    held = await take(replicas.replica("a").leases)
    other = replicas.replica("b").leases
    await replicas.clock.advance(35.0)
    assert await take(other) is None
    await replicas.clock.advance(0.1)
    assert await take(other) is not None
    assert held is not None
    assert not await held.confirm()
    assert not await held.renew()


@pytest.mark.parametrize("skew_seconds", [-4.9, 4.9])
async def test_clocks_that_differ_by_less_than_the_margin_never_share_a_lease(
    skew_seconds: float,
) -> None:
    replicas = Replicas()
    held = await take(replicas.replica("a").leases)
    assert held is not None
    other = replicas.replica("b", skew_seconds=skew_seconds).leases
    await replicas.clock.advance(29.9)
    assert await take(other) is None
    await replicas.clock.advance(15.0)
    assert await take(other) is not None


async def test_a_clock_that_was_wrong_by_days_blocks_nobody() -> None:
    replicas = Replicas()
    assert await take(replicas.replica("a", skew_seconds=86_400.0).leases) is not None
    assert await take(replicas.replica("b").leases) is not None


async def test_a_late_holder_whom_nobody_replaced_still_holds() -> None:
    replicas = Replicas()
    held = await take(replicas.replica("a").leases)
    await replicas.clock.advance(300.0)
    assert held is not None
    assert await held.confirm()
    assert await take(replicas.replica("b").leases) is None


async def test_renewals_keep_a_lease_for_as_long_as_the_work_lasts() -> None:
    replicas = Replicas()
    held = await take(replicas.replica("a").leases)
    other = replicas.replica("b").leases
    assert held is not None
    async with held.kept():
        for _ in range(20):
            await replicas.clock.advance(10.0)
            assert await take(other) is None
        assert len(replicas.generations) == 1
    assert replicas.clock.sleeping == 0
    assert await held.confirm()


async def test_of_racing_takers_one_wins() -> None:
    replicas = Replicas()
    gate = GatedObjectStore(replicas.memory)
    takers = [replicas.replica(name, store=gate).leases for name in "abcdef"]
    gate.shut()
    races = [asyncio.create_task(take(leases)) for leases in takers]
    await gate.arrived(len(takers))
    gate.release()
    held = [lease for lease in await asyncio.gather(*races) if lease is not None]
    assert len(held) == 1
    assert await held[0].confirm()


async def test_a_taker_that_was_paused_past_a_whole_turn_finds_the_higher_generation() -> None:
    replicas = Replicas()
    gate = GatedObjectStore(replicas.memory)
    slow = replicas.replica("slow", store=gate).leases
    gate.shut()
    paused = asyncio.create_task(take(slow))
    await gate.arrived(1)
    # Meanwhile another takes, renews and gives back; the generation that the slow one is
    # about to create was created and deleted.
    quick = await take(replicas.replica("quick").leases)
    assert quick is not None
    assert await quick.renew()
    assert lease_key(NS, 1) not in replicas.memory.objects
    gate.release()
    assert await paused is None
    assert lease_key(NS, 1) in replicas.memory.objects
    assert await quick.confirm()
    await quick.give_back()
    assert await take(slow) is not None
    assert len(replicas.generations) == 1


async def test_a_renewal_whose_answer_was_lost_is_recognized() -> None:
    replicas = Replicas()
    flaky = FlakyObjectStore(replicas.memory, clock=replicas.clock, seed=1)
    held = await take(replicas.replica("a", store=flaky).leases)
    assert held is not None
    flaky.error_after_rate = 1.0
    with pytest.raises(StoreUnavailableError):
        await held.renew()
    flaky.error_after_rate = 0.0
    assert await held.confirm()
    await held.give_back(STATE)
    assert await take(replicas.replica("b").leases) is not None


@pytest.mark.parametrize("seed", range(20))
async def test_with_a_store_that_loses_answers_there_is_never_a_second_holder(seed: int) -> None:
    replicas = Replicas()
    flaky = FlakyObjectStore(
        replicas.memory,
        clock=replicas.clock,
        seed=seed,
        error_before_rate=0.2,
        error_after_rate=0.2,
    )
    takers = [replicas.replica(name, store=flaky).leases for name in "abcd"]

    async def attempt(leases: Leases) -> HeldLease | None:
        try:
            return await take(leases)
        except StoreUnavailableError:
            return None

    winners = 0
    for _ in range(20):
        found = await asyncio.gather(*(attempt(leases) for leases in takers))
        held = [lease for lease in found if lease is not None]
        assert len(held) <= 1, f"seed {seed}"
        winners += len(held)
        await replicas.clock.advance(36.0)
    assert winners > 0, f"seed {seed}"
    assert flaky.errors_after > 0


async def test_an_unreadable_lease_is_free() -> None:
    replicas = Replicas()
    await replicas.memory.put(lease_key(NS, 7), b"{")
    held = await take(replicas.replica("a").leases)
    assert held is not None
    assert held.generation == 8


async def test_a_lease_costs_little() -> None:
    replicas = Replicas()
    replica = replicas.replica("a")
    held = await take(replica.leases)
    assert held is not None
    counts = replica.store.counts
    assert (counts.list, counts.get, counts.put, counts.delete) == (2, 0, 1, 0)
    await held.give_back()
    assert (counts.list, counts.get, counts.put, counts.delete) == (2, 0, 2, 1)
    await replica.leases.read(NS)
    assert (counts.list, counts.get, counts.put, counts.delete) == (3, 1, 2, 1)
