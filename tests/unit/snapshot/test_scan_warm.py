"""Scans from the warm cache: when it may answer, and what happens when it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.errors import ErrorKind, LayerError
from services.core.job_book import JOBS_RUNNING, JobStatus
from services.snapshot import count_documents
from services.snapshot.model import Source
from services.snapshot.scan_values import ScanRequest
from tests.unit.snapshot.harness import NS
from tests.unit.snapshot.scan_harness import Scans

ROWS: list[dict[str, Any]] = [{"id": n, "color": ["red", "blue"][n % 2], "n": n} for n in range(25)]
TYPES = {"id": "uint", "color": "string", "n": "int", "when": "datetime", "vector": "[2]f32"}
FILTERS = ["And", [["n", "Gte", 10], ["color", "Eq", "red"]]]


def warm_scans(**options: Any) -> Scans:
    scans = Scans(ROWS, **options)
    scans.documents.rows = ROWS
    scans.documents.types = TYPES
    return scans


@pytest.mark.parametrize("filters", [None, FILTERS])
async def test_the_cache_answers_what_the_origin_does_and_without_it(filters: Any) -> None:
    scans = warm_scans()
    origin = await scans.run("n", Source.ORIGIN, filters)
    scans.snapshots.upstream.down = True
    job = await scans.run("n", Source.CACHE, filters)
    assert (job.status, job.effective_source) == (JobStatus.COMPLETED, Source.CACHE)
    assert scans.values(job) == scans.values(origin)
    assert (job.documents_scanned, job.progress) == (origin.documents_scanned, 1.0)
    assert job.unique_values == origin.unique_values
    assert job.stable_as_of_ms == scans.documents.stable_as_of_ms
    assert scans.documents.closed == 1


async def test_progress_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scans = warm_scans()
    seen: list[tuple[int, float]] = []
    update = scans.jobs.update

    def watched(job: Any) -> None:
        seen.append((job.documents_scanned, job.progress))
        update(job)

    monkeypatch.setattr(scans.jobs, "update", watched)
    scans.documents.page_size = 3
    await scans.run("n", Source.CACHE, FILTERS)
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert seen[-1] == (8, 1.0)


async def test_auto_takes_stored_then_cache_then_origin() -> None:
    scans = warm_scans()
    assert (await scans.run("color")).effective_source is Source.CACHE
    await scans.snapshots.run_job("color", Source.ORIGIN)
    assert (await scans.run("color")).effective_source is Source.STORED
    assert (await scans.run("color", filters=FILTERS)).effective_source is Source.CACHE
    uncertain = ["when", "Eq", None]
    assert (await scans.run("color", filters=uncertain)).effective_source is Source.ORIGIN
    scans.documents.rows = None
    assert (await scans.run("n")).effective_source is Source.ORIGIN


async def test_auto_falls_back_when_a_document_is_gone() -> None:
    scans = warm_scans()
    scans.documents.lost_after = 2
    assert (await scans.run("n")).effective_source is Source.ORIGIN
    failed = await scans.run("n", Source.CACHE)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "a document is gone")


@pytest.mark.parametrize("source", [Source.CACHE, Source.AUTO])
async def test_more_values_than_are_counted_fail_and_say_so(source: Source) -> None:
    scans = warm_scans(counted=10)
    job = await scans.run("n", source)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "narrow the scan" in job.error
    assert not scans.snapshots.upstream.requests, "no other source would do better"
    assert scans.documents.closed == 1


@pytest.mark.parametrize(
    ("field", "filters", "kind"),
    [
        ("nope", None, ErrorKind.VALIDATION),
        ("vector", None, ErrorKind.VALIDATION),
        ("color", ["color", "Regex", "r.*"], ErrorKind.VALIDATION),
        ("color", ["when", "Gt", "2026-01-01"], ErrorKind.VALIDATION),
    ],
)
async def test_what_the_cache_cannot_answer_is_refused_at_once(
    field: str, filters: Any, kind: ErrorKind
) -> None:
    scans = warm_scans()
    with pytest.raises(LayerError) as refused:
        await scans.use.create(ScanRequest(NS, field, Source.CACHE, filters, 10, None))
    assert refused.value.kind is kind
    assert not scans.jobs.list(NS)


async def test_a_cold_cache_is_said_at_once() -> None:
    scans = Scans(ROWS)
    with pytest.raises(LayerError) as refused:
        await scans.use.create(ScanRequest(NS, "color", Source.CACHE, None, 10, None))
    assert refused.value.kind is ErrorKind.CACHE_COLD


async def test_a_scan_that_is_refused_lets_go_of_the_cache() -> None:
    scans = warm_scans()
    for _ in range(JOBS_RUNNING):
        await scans.use.create(ScanRequest(NS, "color", Source.ORIGIN, None, 1, None))
    with pytest.raises(LayerError) as refused:
        await scans.use.create(ScanRequest(NS, "color", Source.CACHE, None, 1, None))
    assert refused.value.kind is ErrorKind.TOO_MANY_REQUESTS
    assert scans.documents.closed == 1
    await scans.runner.close()


async def test_documents_are_counted_from_the_cache() -> None:
    scans = warm_scans()
    scans.snapshots.upstream.down = True
    for source in (Source.CACHE, Source.AUTO):
        counted = await scans.count(NS, source, None)
        assert (counted.count, counted.served_by) == (25, Source.CACHE)
        assert counted.watermark_ms == scans.documents.stable_as_of_ms
        filtered = await scans.count(NS, source, FILTERS)
        assert (filtered.count, filtered.served_by) == (8, Source.CACHE)
    assert scans.documents.closed == 4


async def test_counts_of_auto_take_stored_then_cache_then_origin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scans = warm_scans()
    await scans.snapshots.run_job("color", Source.ORIGIN)
    assert (await scans.count(NS, Source.AUTO, None)).served_by is Source.STORED
    assert (await scans.count(NS, Source.AUTO, FILTERS)).served_by is Source.CACHE
    monkeypatch.setattr(count_documents, "READ_BY_AUTO", 24)
    assert (await scans.count(NS, Source.AUTO, FILTERS)).served_by is Source.ORIGIN
    assert (await scans.count(NS, Source.CACHE, FILTERS)).served_by is Source.CACHE
    monkeypatch.undo()
    scans.documents.lost_after = 1
    assert (await scans.count(NS, Source.AUTO, FILTERS)).count == 8
    scans.documents.rows = None
    assert (await scans.count(NS, Source.AUTO, FILTERS)).served_by is Source.ORIGIN


async def test_counts_that_the_cache_cannot_make_are_refused() -> None:
    scans = warm_scans()
    with pytest.raises(LayerError) as refused:
        await scans.count(NS, Source.CACHE, ["when", "Eq", None])
    assert refused.value.kind is ErrorKind.VALIDATION
    scans.documents.rows = None
    with pytest.raises(LayerError) as cold:
        await scans.count(NS, Source.CACHE, None)
    assert cold.value.kind is ErrorKind.CACHE_COLD
