"""Manual jobs: the rules of the sources."""

import asyncio

import pytest

from services.core.errors import ErrorKind, LayerError
from services.core.job_book import JobStatus
from services.snapshot.count_origin import OriginStrategy
from services.snapshot.model import SnapshotRequest, Source
from tests.unit.snapshot.harness import NS, SnapshotHarness

ROWS = [
    {
        "id": n,
        "color": ["red", "blue", None][n % 3],
        "tags": ["a", "b"][: n % 3],
        "vector": [0.1, 0.2],
    }
    for n in range(30)
]


@pytest.mark.parametrize("strategy", list(OriginStrategy))
async def test_origin_counts_persists_and_joins_the_history(strategy: OriginStrategy) -> None:
    harness = SnapshotHarness(ROWS, strategy)
    started_ms = harness.now_ms
    job = await harness.run_job("color", Source.ORIGIN, page_size=7)
    assert (job.status, job.progress, job.documents_scanned) == (JobStatus.COMPLETED, 1.0, 30)
    assert job.effective_source is Source.ORIGIN
    assert job.stable_as_of_ms == started_ms - 500
    newest = await harness.reader.newest_body(NS)
    assert newest is not None
    assert newest.sha == job.sha
    assert [(v.v, v.n) for v in newest.fields[0].values] == [("blue", 10), ("red", 10)]
    is_scan = strategy is OriginStrategy.SCAN
    assert all(("rank_by" in request) == is_scan for request in harness.upstream.requests)


async def test_auto_answers_from_a_stored_body_without_asking_the_upstream() -> None:
    harness = SnapshotHarness(ROWS)
    first = await harness.run_job("color", Source.AUTO)
    assert first.effective_source is Source.ORIGIN
    requests = len(harness.upstream.requests)
    second = await harness.run_job("color", Source.AUTO)
    assert second.effective_source is Source.STORED
    assert second.sha == first.sha
    assert second.documents_scanned == 30
    assert len(harness.upstream.requests) == requests


async def test_stored_without_such_a_body_fails_with_a_sentence() -> None:
    harness = SnapshotHarness(ROWS)
    job = await harness.run_job("color", Source.STORED)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "use source origin" in job.error


async def test_filters_count_at_the_origin_and_stay_out_of_the_history() -> None:
    harness = SnapshotHarness(ROWS)
    await harness.run_job("tags", Source.ORIGIN)
    job = await harness.run_job("tags", Source.AUTO, ["color", "Eq", "blue"])
    assert job.effective_source is Source.ORIGIN
    assert job.documents_scanned == 10
    assert len(await harness.reader.page(NS, limit=10)) == 1
    assert job.sha is not None
    body = await harness.reader.body(await harness.reader.resolve(NS, job.sha))
    assert body is not None
    assert body.row_count == 10


async def test_stored_with_filters_is_refused_at_once() -> None:
    harness = SnapshotHarness(ROWS)
    with pytest.raises(LayerError) as refused:
        await harness.create(SnapshotRequest(NS, "color", Source.STORED, ["a", "Eq", 1], 10))
    assert refused.value.kind is ErrorKind.VALIDATION
    assert harness.jobs.list(NS) == []


async def test_a_cold_cache_is_said_at_once() -> None:
    harness = SnapshotHarness(ROWS)
    with pytest.raises(LayerError) as refused:
        await harness.create(SnapshotRequest(NS, "color", Source.CACHE, None, 10))
    assert refused.value.kind is ErrorKind.CACHE_COLD


@pytest.mark.parametrize(("field", "reason"), [("colour", "no attribute"), ("vector", "vector")])
async def test_what_cannot_be_counted_fails_and_is_not_stored(field: str, reason: str) -> None:
    harness = SnapshotHarness(ROWS)
    job = await harness.run_job(field, Source.ORIGIN)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert reason in job.error
    assert await harness.reader.page(NS, limit=10) == []


async def test_an_updating_index_uses_the_last_known_watermark() -> None:
    harness = SnapshotHarness(ROWS)
    first = await harness.run_job("color", Source.ORIGIN)
    harness.clock.advance(10)
    harness.upstream.updating = True
    second = await harness.run_job("color", Source.ORIGIN)
    assert second.stable_as_of_ms == first.stable_as_of_ms


async def test_an_index_that_never_settles_fails_after_the_wait() -> None:
    harness = SnapshotHarness(ROWS)
    harness.upstream.updating = True
    job = await harness.run_job("color", Source.ORIGIN)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "updating for 30 s" in job.error
    assert sum(harness.clock.slept) >= 30


async def test_an_upstream_that_is_down_fails_the_job() -> None:
    harness = SnapshotHarness(ROWS)
    harness.upstream.down = True
    job = await harness.run_job("color", Source.ORIGIN)
    assert (job.status, job.error) == (JobStatus.FAILED, "the upstream is down")


async def test_a_stopping_service_says_so_in_its_running_jobs() -> None:
    harness = SnapshotHarness(ROWS)
    job = await harness.create(SnapshotRequest(NS, "color", Source.ORIGIN, None, 1))
    await asyncio.sleep(0)
    await harness.runner.close()
    ended = harness.jobs.get(NS, job.id)
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert "start it again" in ended.error


async def test_jobs_are_listed_oldest_first_and_only_the_newest_are_kept() -> None:
    harness = SnapshotHarness(ROWS)
    await harness.run_job("color", Source.ORIGIN)
    ids = [(await harness.run_job("color")).id for _ in range(1000)]
    assert [job.id for job in harness.jobs.list(NS)] == ids


async def test_too_many_running_jobs_are_refused() -> None:
    harness = SnapshotHarness(ROWS)
    request = SnapshotRequest(NS, "color", Source.ORIGIN, None, 1)
    for _ in range(64):
        await harness.create(request)
    with pytest.raises(LayerError) as refused:
        await harness.create(request)
    assert refused.value.kind is ErrorKind.TOO_MANY_REQUESTS
    await harness.runner.close()
