"""Values scans and document counts over memory stores."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.errors import ErrorKind, LayerError
from services.core.job_book import JobStatus
from services.snapshot import scan_values
from services.snapshot.model import Source
from services.snapshot.scan_values import ScanRequest
from tests.unit.snapshot.harness import NS
from tests.unit.snapshot.scan_harness import Scans

ROWS: list[dict[str, Any]] = [
    {"id": n, "color": ["red", "blue", "green", None][min(n % 5, 3)]} for n in range(50)
]


async def test_values_come_by_count_then_by_value_in_pages() -> None:
    scans = Scans(ROWS)
    job = await scans.run("color", Source.ORIGIN)
    assert (job.status, job.unique_values, job.is_truncated) == (JobStatus.COMPLETED, 3, False)
    assert (job.documents_scanned, job.effective_source) == (50, Source.ORIGIN)
    assert scans.values(job) == [("blue", 10), ("green", 10), ("red", 10)]
    assert scans.values(job, limit=1, offset=1) == [("green", 10)]
    assert scans.values(job, offset=3) == []


async def test_auto_answers_from_a_stored_body() -> None:
    scans = Scans(ROWS)
    await scans.snapshots.run_job("color", Source.ORIGIN)
    requests = len(scans.snapshots.upstream.requests)
    job = await scans.run("color")
    assert job.effective_source is Source.STORED
    assert scans.values(job)[0] == ("blue", 10)
    assert len(scans.snapshots.upstream.requests) == requests
    filtered = await scans.run("color", filters=["color", "Eq", "red"])
    assert filtered.effective_source is Source.ORIGIN
    assert scans.values(filtered) == [("red", 10)]


async def test_stored_without_a_complete_histogram_fails_with_a_sentence() -> None:
    scans = Scans(ROWS)
    job = await scans.run("color", Source.STORED)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "use source origin" in job.error
    with pytest.raises(LayerError, match="has no results"):
        scans.values(job)


async def test_of_too_many_values_the_most_frequent_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_values, "KEPT_VALUES", 2)
    rows = [{"id": n, "v": f"value-{min(n, 9)}"} for n in range(20)]
    scans = Scans(rows)
    job = await scans.run("v", Source.ORIGIN)
    assert (job.unique_values, job.is_truncated) == (10, True)
    assert scans.values(job) == [("value-9", 11), ("value-0", 1)]


async def test_more_values_than_are_counted_fail_and_say_so() -> None:
    scans = Scans([{"id": n, "v": f"value-{n}"} for n in range(20)], counted=10)
    job = await scans.run("v", Source.ORIGIN)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "narrow the scan" in job.error


async def test_results_are_bounded_over_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_values, "RESULTS_KEPT", 7)
    scans = Scans(ROWS)
    jobs = [await scans.run("color", Source.ORIGIN) for _ in range(3)]
    assert [job.id for job in scans.jobs.list(NS)] == [job.id for job in jobs[1:]]


async def test_an_ended_scan_can_be_deleted_and_a_running_one_cannot() -> None:
    scans = Scans(ROWS)
    job = await scans.run("color", Source.ORIGIN)
    scans.use.delete(job)
    with pytest.raises(LayerError) as gone:
        scans.jobs.get(NS, job.id)
    assert gone.value.kind is ErrorKind.NOT_FOUND
    running = await scans.use.create(ScanRequest(NS, "color", Source.ORIGIN, None, 7, None))
    with pytest.raises(LayerError, match="still runs"):
        scans.use.delete(running)
    await scans.runner.close()


async def test_documents_are_counted_by_a_body_or_by_the_upstream() -> None:
    scans = Scans(ROWS)
    fresh = await scans.count(NS, Source.AUTO, None)
    assert (fresh.count, fresh.served_by, fresh.snapshot_sha) == (50, Source.ORIGIN, None)
    await scans.snapshots.run_job("color", Source.ORIGIN)
    stored = await scans.count(NS, Source.AUTO, None)
    assert (stored.count, stored.served_by) == (50, Source.STORED)
    assert stored.snapshot_sha is not None
    filtered = await scans.count(NS, Source.AUTO, ["color", "Eq", "red"])
    assert (filtered.count, filtered.served_by) == (10, Source.ORIGIN)
