"""Replicas of the automatic writer: one counts, and a restart costs a poll."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from services.storage.counting import RequestCounts
from services.storage.object_store import StoreUnavailableError
from services.upstream.vector_store import UpstreamUnavailableError
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.gated_object_store import GatedObjectStore
from tests.unit.snapshot.harness import policy
from tests.unit.snapshot.replicas import Replica, Replicas

POLICY = policy("color")


@dataclass
class Scanning:
    """A step that stands in the middle of its scan until the gate opens."""

    step: asyncio.Task[bool]
    gate: asyncio.Event


async def scanning(replicas: Replicas, replica: Replica) -> Scanning:
    gate = replicas.upstream.gate = asyncio.Event()
    step = asyncio.create_task(replica.writer.step(POLICY))
    await replicas.upstream.scanning.wait()
    # Other scans pass.
    replicas.upstream.gate = asyncio.Event()
    replicas.upstream.gate.set()
    return Scanning(step, gate)


async def test_of_two_replicas_one_counts() -> None:
    replicas = Replicas()
    a, b = replicas.replica("a"), replicas.replica("b")
    scan = await scanning(replicas, a)
    assert not await b.writer.step(POLICY)
    assert replicas.scans == 1
    scan.gate.set()
    assert not await scan.step
    assert (replicas.scans, replicas.snapshots) == (1, 1)
    assert not await b.writer.step(POLICY)
    assert replicas.scans == 1


async def test_an_idle_namespace_costs_every_replica_its_poll_and_nothing_else() -> None:
    replicas = Replicas()
    both = [replicas.replica("a"), replicas.replica("b")]
    for replica in both:
        await replica.writer.step(POLICY)
        replica.store.counts = RequestCounts()
    polls, scans = replicas.upstream.polls, replicas.scans
    for _ in range(10):
        await replicas.clock.advance(60)
        for replica in both:
            assert not await replica.writer.step(POLICY)
            await replica.writer.prune(POLICY)
    assert [replica.store.counts for replica in both] == [RequestCounts(), RequestCounts()]
    assert (replicas.upstream.polls - polls, replicas.scans) == (20, scans)


async def test_retention_is_applied_now_and_then_and_not_at_each_poll() -> None:
    replicas = Replicas()
    replica = replicas.replica("a")
    keeping = policy("color", retention_ms=86_400_000)
    for _ in range(60):
        await replica.writer.prune(keeping)
        await replicas.clock.advance(60)
    assert replica.store.counts.list == 1
    await replica.writer.prune(keeping)
    assert replica.store.counts.list == 2


async def test_a_restart_costs_one_poll_and_a_read_of_the_lease() -> None:
    replicas = Replicas()
    await replicas.replica("a").writer.step(POLICY)
    polls, scans = replicas.upstream.polls, replicas.scans
    restarted = replicas.replica("a")
    assert not await restarted.writer.step(POLICY)
    assert (replicas.upstream.polls - polls, replicas.scans - scans) == (1, 0)
    assert restarted.store.counts == RequestCounts(list=1, get=1)


async def test_a_restart_after_a_skipped_write_costs_no_scan() -> None:
    replicas = Replicas()
    first = replicas.replica("a")
    await first.writer.step(POLICY)
    replicas.write(10, 1)
    await first.writer.step(POLICY)
    assert (replicas.scans, replicas.snapshots) == (2, 1)
    await replicas.replica("a").writer.step(POLICY)
    assert replicas.scans == 2


@pytest.mark.parametrize("skew_seconds", [-3600.0, 3600.0])
async def test_a_restart_with_another_clock_costs_no_scan(skew_seconds: float) -> None:
    replicas = Replicas()
    replicas.upstream.written_at = "2026-09-21T12:00:00Z"
    await replicas.replica("a").writer.step(POLICY)
    assert not await replicas.replica("a", skew_seconds=skew_seconds).writer.step(POLICY)
    assert replicas.scans == 1


async def test_a_long_scan_keeps_its_lease() -> None:
    replicas = Replicas()
    a, b = replicas.replica("a"), replicas.replica("b")
    scan = await scanning(replicas, a)
    for _ in range(10):
        await replicas.clock.advance(60)
        assert not await b.writer.step(POLICY)
    scan.gate.set()
    await scan.step
    assert (replicas.scans, replicas.snapshots) == (1, 1)


async def test_a_crashed_holder_is_replaced_after_its_term() -> None:
    replicas = Replicas()
    # From outside, a crash is a process that the store never hears of again.
    link = FlakyObjectStore(replicas.memory, clock=replicas.clock, seed=1)
    crashed = await scanning(replicas, replicas.replica("a", store=link))
    link.error_before_rate = 1.0
    other = replicas.replica("b")
    await replicas.clock.advance(35.0)
    assert not await other.writer.step(POLICY)
    assert replicas.scans == 1
    await replicas.clock.advance(1.0)
    assert not await other.writer.step(POLICY)
    assert (replicas.scans, replicas.snapshots) == (2, 1)
    crashed.gate.set()
    with pytest.raises(StoreUnavailableError):
        await crashed.step


async def test_a_holder_that_was_paused_past_its_term_drops_its_result() -> None:
    replicas = Replicas()
    link = GatedObjectStore(replicas.memory)
    paused = await scanning(replicas, replicas.replica("a", store=link))
    link.shut()
    await replicas.clock.advance(36.0)
    replicas.write(11, 1)
    assert not await replicas.replica("b").writer.step(POLICY)
    before = set(replicas.memory.objects)
    link.release()
    paused.gate.set()
    assert not await paused.step
    assert replicas.snapshots == 1
    assert {key for key in replicas.memory.objects if "leases" not in key} <= before
    # It does not count what the other has counted.
    scans = replicas.scans
    assert not await replicas.replica("c").writer.step(POLICY)
    assert replicas.scans == scans


async def test_a_scan_that_fails_frees_the_lease_at_once() -> None:
    replicas = Replicas()
    replicas.upstream.refuse_queries = True
    with pytest.raises(UpstreamUnavailableError):
        await replicas.replica("a").writer.step(POLICY)
    replicas.upstream.refuse_queries = False
    await replicas.replica("b").writer.step(POLICY)
    assert replicas.snapshots == 1


async def test_a_cancelled_scan_frees_the_lease_at_once() -> None:
    replicas = Replicas()
    scan = await scanning(replicas, replicas.replica("a"))
    scan.step.cancel()
    await asyncio.wait([scan.step])
    assert scan.step.cancelled()
    assert replicas.clock.sleeping == 0
    await replicas.replica("b").writer.step(POLICY)
    assert (replicas.scans, replicas.snapshots) == (2, 1)
