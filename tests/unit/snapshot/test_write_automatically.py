"""The automatic writer: when it fires, when it does not, and what it keeps."""

import pytest

from services.snapshot.model import Source
from services.snapshot.plan import plan_namespace
from services.snapshot.retention import Retention
from services.upstream.vector_store import NamespaceNotFoundError
from tests.unit.snapshot.harness import NS, SnapshotHarness, policy

DAY_MS = 86_400_000


def rows(count: int) -> list[dict[str, object]]:
    return [{"id": n, "color": "red" if n % 2 else "blue", "size": n % 3} for n in range(count)]


async def history(harness: SnapshotHarness) -> int:
    return len(await harness.reader.page(NS, limit=1000))


def write(harness: SnapshotHarness, count: int, second: int) -> None:
    """The upstream is written to at that second of the test's hour."""
    harness.upstream.rows = rows(count)
    harness.upstream.written_at = f"2026-09-21T14:00:{second:02d}Z"


async def test_it_fires_once_for_each_advance() -> None:
    harness = SnapshotHarness(rows(10))
    write(harness, 10, 0)
    assert not await harness.automatic.step(policy("color", "size"))
    assert await history(harness) == 1
    scans = len(harness.upstream.requests)
    for _ in range(5):
        harness.clock.advance(60)
        assert not await harness.automatic.step(policy("color", "size"))
    assert len(harness.upstream.requests) == scans
    write(harness, 11, 1)
    assert not await harness.automatic.step(policy("color", "size"))
    assert await history(harness) == 2


async def test_an_idle_namespace_costs_one_poll_after_a_restart() -> None:
    harness = SnapshotHarness(rows(10))
    write(harness, 10, 0)
    await harness.automatic.step(policy("color"))
    scans, polls = len(harness.upstream.requests), harness.upstream.polls
    harness.restart()
    assert not await harness.automatic.step(policy("color"))
    assert len(harness.upstream.requests) == scans
    assert harness.upstream.polls == polls + 1


async def test_it_waits_while_the_index_is_updating() -> None:
    harness = SnapshotHarness(rows(10))
    harness.upstream.updating = True
    assert await harness.automatic.step(policy("color"))
    assert await history(harness) == 0
    harness.upstream.updating = False
    harness.clock.advance(1)
    assert not await harness.automatic.step(policy("color"))
    assert await history(harness) == 1


async def test_it_waits_until_the_watermark_has_passed_the_write() -> None:
    harness = SnapshotHarness(rows(10))
    # FakeClock starts at 14:13:20; this write is 300 ms old, inside the margin.
    harness.upstream.written_at = "2026-09-21T14:13:20.000Z"
    harness.clock.advance(0.3)
    assert await harness.automatic.step(policy("color"))
    assert await history(harness) == 0
    harness.clock.advance(0.3)
    assert not await harness.automatic.step(policy("color"))
    assert await history(harness) == 1


async def test_a_write_that_changes_no_facet_is_skipped() -> None:
    harness = SnapshotHarness(rows(10))
    write(harness, 10, 0)
    await harness.automatic.step(policy("color"))
    write(harness, 10, 1)
    await harness.automatic.step(policy("color"))
    assert await history(harness) == 1


async def test_the_interval_is_a_floor() -> None:
    harness = SnapshotHarness(rows(10))
    write(harness, 10, 0)
    await harness.automatic.step(policy("color", interval_ms=300_000))
    write(harness, 11, 1)
    harness.clock.advance(100)
    assert await harness.automatic.step(policy("color", interval_ms=300_000))
    assert await history(harness) == 1
    harness.clock.advance(200)
    assert not await harness.automatic.step(policy("color", interval_ms=300_000))
    assert await history(harness) == 2


async def test_a_manual_body_of_one_field_does_not_count_as_the_snapshot() -> None:
    harness = SnapshotHarness(rows(10))
    write(harness, 10, 0)
    await harness.run_job("color", Source.ORIGIN)
    harness.clock.advance(5)
    await harness.automatic.step(policy("color", "size"))
    body = await harness.reader.newest_body(NS)
    assert body is not None
    assert body.field_names() == {"color", "size"}


async def test_a_field_that_no_document_has_is_complete_and_empty() -> None:
    harness = SnapshotHarness(rows(3))
    write(harness, 3, 0)
    await harness.automatic.step(policy("color", "brand"))
    body = await harness.reader.newest_body(NS)
    assert body is not None
    assert [(f.name, len(f.values)) for f in body.fields] == [("brand", 0), ("color", 2)]


async def test_a_changed_policy_takes_a_new_snapshot() -> None:
    harness = SnapshotHarness(rows(3))
    write(harness, 3, 0)
    await harness.automatic.step(policy("color"))
    harness.clock.advance(5)
    await harness.automatic.step(policy("color", "size"))
    assert await history(harness) == 2


async def test_a_namespace_that_is_gone_says_so() -> None:
    harness = SnapshotHarness(rows(3))
    harness.upstream.namespace = "other"
    with pytest.raises(NamespaceNotFoundError):
        await harness.automatic.step(policy("color"))


async def test_retention_prunes_everything_of_old_snapshots_but_never_the_newest() -> None:
    harness = SnapshotHarness(rows(3))
    for day in range(5):
        write(harness, 3 + day, day)
        await harness.automatic.step(policy("color"))
        harness.clock.advance(DAY_MS / 1000)
    retention = Retention(harness.store, harness.clock)
    dry_run = await retention.expired(NS, DAY_MS * 5 // 2)
    assert len(dry_run) == 3
    assert await history(harness) == 5
    await harness.automatic.prune(policy("color", retention_ms=DAY_MS * 5 // 2))
    assert await history(harness) == 2
    assert len(await harness.store.list("snapshot-shas/")) == 2
    assert len(await harness.store.list("snapshot-activity/")) == 2
    harness.clock.advance(100 * DAY_MS / 1000)
    await harness.automatic.prune(policy("color", retention_ms=DAY_MS * 5 // 2))
    assert await history(harness) == 1


async def test_a_plan_says_what_would_be_done_and_does_nothing() -> None:
    harness = SnapshotHarness(rows(3))
    write(harness, 3, 0)
    before = await harness.store.list("")
    plan = await plan_namespace(policy("color"), harness.automatic, harness.retention)
    assert (plan.snapshot, plan.expired) == ("a snapshot is due", 0)
    assert await harness.store.list("") == before
    await harness.automatic.step(policy("color"))
    harness.clock.advance(3 * DAY_MS / 1000)
    write(harness, 4, 1)
    await harness.automatic.step(policy("color"))
    keeping = policy("color", retention_ms=DAY_MS)
    plan = await plan_namespace(keeping, harness.automatic, harness.retention)
    assert plan.snapshot == "nothing was written since the last snapshot"
    assert plan.expired == 1
    assert await history(harness) == 2
    harness.upstream.down = True
    plan = await plan_namespace(keeping, harness.automatic, harness.retention)
    assert plan.snapshot == "the upstream is down"
    assert (await plan_namespace(policy(), harness.automatic, harness.retention)).snapshot == (
        "the automatic writer is off"
    )
