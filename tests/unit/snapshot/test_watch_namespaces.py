"""The watcher: loops come and go with policies, back off, and leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.core.tasks import running
from services.indexes.policies import Policies
from services.indexes.stored_policies import StoredPolicies
from services.snapshot.watch_namespaces import NamespaceWatcher, PollIntervals
from services.storage.counting import RequestCounts
from tests.doubles.waiting_clock import settle
from tests.unit.snapshot.harness import policy
from tests.unit.snapshot.replicas import NS, Replicas


class Watching:
    """One replica with its watcher."""

    def __init__(self) -> None:
        self.replicas = Replicas()
        self.replica = self.replicas.replica("a")
        self.policies = Policies(
            [], StoredPolicies(self.replicas.memory), self.replicas.clock, refresh_seconds=10
        )
        self.watcher = NamespaceWatcher(
            policies=self.policies,
            writer=self.replica.writer,
            clock=self.replicas.clock,
            random_source=random.Random(1),
            intervals=PollIntervals(),
            reconcile_seconds=1.0,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.policies.put(policy("color"))
        async with running(self.watcher.run()):
            await settle()
            yield

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what a thread counts; the clock stands."""
        async with asyncio.timeout(5.0):
            while not condition():  # noqa: ASYNC110 - a thread's work
                await asyncio.sleep(0.001)
        await settle()


async def test_a_namespace_with_a_policy_is_counted_and_then_only_polled() -> None:
    watching = Watching()
    async with watching.running():
        await watching.until(lambda: watching.replicas.snapshots == 1)
        await watching.until(lambda: watching.replicas.clock.sleeping == 2)
        watching.replica.store.counts = RequestCounts()
        polls = watching.replicas.upstream.polls
        await watching.replicas.clock.advance(600)
        # Every 60 s, give or take a fifth.
        assert 8 <= watching.replicas.upstream.polls - polls <= 13
        assert watching.replica.store.counts == RequestCounts()


async def test_a_namespace_without_facet_fields_is_left_alone() -> None:
    watching = Watching()
    async with watching.running():
        await watching.until(lambda: watching.replicas.clock.sleeping == 2)
        polls = watching.replicas.upstream.polls
        await watching.policies.put(policy())
        await watching.replicas.clock.advance(600)
        assert watching.replicas.upstream.polls == polls
        assert watching.replicas.clock.sleeping == 1


async def test_a_stop_in_the_middle_of_a_scan_gives_the_lease_back() -> None:
    watching = Watching()
    watching.replicas.upstream.gate.clear()
    async with watching.running():
        await watching.replicas.upstream.scanning.wait()
    assert watching.replicas.clock.sleeping == 0
    watching.replicas.upstream.gate.set()
    assert not await watching.replicas.replica("b").writer.step(policy("color"))
    assert watching.replicas.snapshots == 1


async def test_a_policy_that_goes_in_the_middle_of_a_scan_gives_the_lease_back() -> None:
    watching = Watching()
    watching.replicas.upstream.gate.clear()
    async with watching.running():
        await watching.replicas.upstream.scanning.wait()
        await watching.policies.put(policy())
        await watching.replicas.clock.advance(1.0)
        watching.replicas.upstream.gate.set()
        assert not await watching.replicas.replica("b").writer.step(policy("color"))
        assert watching.replicas.snapshots == 1


async def test_an_outage_is_asked_about_less_and_less(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="services.snapshot")
    watching = Watching()
    watching.replicas.upstream.down = True
    async with watching.running():
        await watching.replicas.clock.advance(3600)
        waits = [
            float(record.__dict__["seconds"])
            for record in caplog.records
            if record.message == "watching failed, backing off"
        ]
        assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
        assert max(waits) == 300.0
        assert len(waits) < 30
        watching.replicas.upstream.down = False
        await watching.replicas.clock.advance(400)
        await watching.until(lambda: watching.replicas.snapshots == 1)


async def test_a_namespace_that_does_not_exist_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="services.snapshot")
    watching = Watching()
    watching.replicas.upstream.namespace = "other"
    async with watching.running():
        await watching.replicas.clock.advance(300)
        assert caplog.records == []
        watching.replicas.upstream.namespace = NS
        await watching.replicas.clock.advance(100)
        await watching.until(lambda: watching.replicas.snapshots == 1)
