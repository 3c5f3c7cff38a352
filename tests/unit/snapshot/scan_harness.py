"""The scan use cases beside the snapshot harness."""

from __future__ import annotations

from typing import Any

from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_documents import CountDocuments
from services.snapshot.count_facets import FacetCounter
from services.snapshot.count_for_job import CountForJob
from services.snapshot.count_origin import OriginCount, OriginStrategy
from services.snapshot.count_warm import WarmDocuments
from services.snapshot.count_warm_for_job import WarmCountForJob
from services.snapshot.model import ScanJob, Source
from services.snapshot.scan_origin import OriginScan
from services.snapshot.scan_values import ScanRequest, ScanValues
from tests.doubles.table_store import TableVectorStore
from tests.unit.snapshot.harness import NS, SnapshotHarness

__all__ = ["Scans"]


class Scans:
    """Everything that `wiring` makes for scans.

    Args:
        counted: values of a field that are counted at most.
        documents: what is warm; by default what the test gives `self.documents`.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]] | TableVectorStore,
        *,
        counted: int = 100,
        documents: WarmDocuments | None = None,
    ) -> None:
        self.snapshots = SnapshotHarness(rows)
        self.documents = self.snapshots.documents
        warm = documents or self.documents
        upstream, clock = self.snapshots.upstream, self.snapshots.clock
        self.origin = OriginCount(
            OriginAggregation(upstream, field_cap=counted),
            OriginScan(upstream, field_cap=counted, refuse_over_cap=True),
            OriginStrategy.AUTO,
        )
        self.jobs = JobBook[ScanJob]("scan")
        self.runner = JobRunner(self.jobs, clock)
        ids = iter(range(1_000_000))
        self.use = ScanValues(
            jobs=self.jobs,
            runner=self.runner,
            reader=self.snapshots.reader,
            count=CountForJob(
                self.jobs, self.snapshots.watermarks, self.origin, lambda _namespace: 4
            ),
            count_warm=WarmCountForJob(
                self.jobs,
                warm,
                lambda field: FacetCounter([field], cap=counted, refuse_over_cap=True),
            ),
            clock=clock,
            new_id=lambda: f"scan-{next(ids)}",
        )
        self.count = CountDocuments(
            self.snapshots.reader,
            warm,
            self.snapshots.watermarks,
            self.origin,
            clock,
        )

    async def run(
        self, field: str, source: Source = Source.AUTO, filters: object | None = None
    ) -> ScanJob:
        job = await self.use.create(ScanRequest(NS, field, source, filters, 7, None))
        await self.jobs.idle()
        return self.jobs.get(NS, job.id)

    def values(self, job: ScanJob, limit: int = 100, offset: int = 0) -> list[tuple[str, int]]:
        page = self.use.results(job, limit=limit, offset=offset)
        return [(value.v, value.n) for value in page.values]
