"""Snapshots from the warm cache: when it may answer, and what happens when it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.errors import ErrorKind, LayerError
from services.core.job_book import JobStatus
from services.snapshot.model import SnapshotRequest, Source
from tests.unit.snapshot.harness import NS, SnapshotHarness

ROWS: list[dict[str, Any]] = [{"id": n, "color": ["red", "blue"][n % 2], "n": n} for n in range(25)]
TYPES = {"id": "uint", "color": "string", "n": "int", "when": "datetime", "vector": "[2]f32"}


@pytest.fixture
def harness() -> SnapshotHarness:
    harness = SnapshotHarness(ROWS)
    harness.documents.rows = ROWS
    harness.documents.types = TYPES
    return harness


async def test_the_cache_answers_without_the_upstream(harness: SnapshotHarness) -> None:
    origin = await harness.run_job("color", Source.ORIGIN)
    harness.upstream.down = True
    job = await harness.run_job("color", Source.CACHE)
    assert (job.status, job.effective_source, job.sha) == (
        JobStatus.COMPLETED,
        Source.CACHE,
        origin.sha,
    )
    assert job.stable_as_of_ms == harness.documents.stable_as_of_ms
    assert (job.documents_scanned, job.progress) == (25, 1.0)
    assert harness.documents.closed == 1


async def test_filters_are_applied(harness: SnapshotHarness) -> None:
    filters = ["And", [["n", "Gte", 10], ["color", "Eq", "red"]]]
    origin = await harness.run_job("color", Source.ORIGIN, filters)
    job = await harness.run_job("color", Source.CACHE, filters)
    assert (job.effective_source, job.sha) == (Source.CACHE, origin.sha)


async def test_auto_takes_stored_then_cache_then_origin(harness: SnapshotHarness) -> None:
    cached = await harness.run_job("color")
    assert cached.effective_source is Source.CACHE
    assert not await harness.reader.newest(NS), "what the cache answers is not persisted"
    await harness.run_job("color", Source.ORIGIN)
    assert (await harness.run_job("color")).effective_source is Source.STORED
    harness.documents.rows = None
    assert (await harness.run_job("n")).effective_source is Source.ORIGIN


async def test_auto_falls_back_when_a_document_is_gone(harness: SnapshotHarness) -> None:
    harness.documents.lost_after = 2
    job = await harness.run_job("color")
    assert (job.status, job.effective_source) == (JobStatus.COMPLETED, Source.ORIGIN)
    failed = await harness.run_job("n", Source.CACHE)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "a document is gone")


async def test_auto_asks_the_origin_what_the_cache_is_not_sure_of(
    harness: SnapshotHarness,
) -> None:
    job = await harness.run_job("color", filters=["when", "Eq", None])
    assert job.effective_source is Source.ORIGIN


@pytest.mark.parametrize(
    ("field", "filters"),
    [
        ("nope", None),
        ("vector", None),
        ("color", ["color", "Regex", "r.*"]),
        ("color", ["when", "Gt", "2026-01-01"]),
        ("color", ["nope", "Eq", 1]),
    ],
)
async def test_what_the_cache_cannot_answer_is_refused_at_once(
    harness: SnapshotHarness, field: str, filters: Any
) -> None:
    with pytest.raises(LayerError) as refused:
        await harness.create(SnapshotRequest(NS, field, Source.CACHE, filters, 10))
    assert refused.value.kind is ErrorKind.VALIDATION
    assert not harness.jobs.list(NS)


async def test_a_scan_that_ends_early_is_no_count(harness: SnapshotHarness) -> None:
    opened = harness.documents.open

    async def cut(namespace: Any) -> Any:
        scan = await opened(namespace)
        object.__setattr__(scan, "documents", 26)
        return scan

    harness.documents.open = cut  # type: ignore[method-assign]
    assert (await harness.run_job("color", Source.CACHE)).status is JobStatus.FAILED
