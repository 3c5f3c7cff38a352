"""Several replicas of the automatic writer over one store, one upstream and one clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.cache.no_cache import NoCache
from services.core.clock import Clock
from services.core.ids import Namespace
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_origin import OriginCount, OriginStrategy
from services.snapshot.leases import Leases, LeaseTerms
from services.snapshot.retention import Retention
from services.snapshot.scan_origin import OriginScan
from services.snapshot.watermarks import Watermarks
from services.snapshot.write_automatically import AutomaticWriter
from services.storage.counting import CountingObjectStore
from services.storage.object_store import ObjectStore
from services.upstream.vector_store import UpstreamUnavailableError
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.table_store import TableVectorStore
from tests.doubles.waiting_clock import SkewedClock, WaitingClock

__all__ = ["TERMS", "GatedUpstream", "Replica", "Replicas"]

NS = Namespace("products")
TERMS = LeaseTerms(term_seconds=30.0, skew_seconds=5.0)


class GatedUpstream(TableVectorStore):
    """Scans wait behind their first page while the gate is shut."""

    def __init__(self, namespace: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(namespace, rows)
        self.gate = asyncio.Event()
        self.gate.set()
        self.scanning = asyncio.Event()
        self.refuse_queries = False

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        if self.refuse_queries:
            raise UpstreamUnavailableError("the upstream answers no queries")
        answer = await super().query(namespace, request)
        self.scanning.set()
        await self.gate.wait()
        return answer


class Replica:
    """One process: what it keeps in memory."""

    def __init__(
        self, name: str, store: ObjectStore, upstream: TableVectorStore, clock: Clock
    ) -> None:
        self.store = CountingObjectStore(store)
        ids = iter(range(1_000_000))
        self.leases = Leases(
            self.store, clock, replica=name, new_id=lambda: str(next(ids)), terms=TERMS
        )
        self.writer = AutomaticWriter(
            watermarks=Watermarks(upstream, clock, margin_ms=500, wait_seconds=30),
            origin=OriginCount(
                OriginAggregation(upstream), OriginScan(upstream), OriginStrategy.SCAN
            ),
            reader=SnapshotReader(self.store, NoCache()),
            writer=SnapshotWriter(self.store, NoCache()),
            leases=self.leases,
            retention=Retention(self.store, clock),
            clock=clock,
            min_interval_ms=0,
        )


class Replicas:
    """What they share."""

    def __init__(self, rows: int = 10) -> None:
        self.clock = WaitingClock()
        self.memory = MemoryObjectStore()
        self.upstream = GatedUpstream(NS, [])
        self.write(rows, 0)

    def replica(
        self, name: str, *, skew_seconds: float = 0.0, store: ObjectStore | None = None
    ) -> Replica:
        clock = SkewedClock(self.clock, skew_seconds) if skew_seconds else self.clock
        return Replica(name, store or self.memory, self.upstream, clock)

    def write(self, rows: int, second: int) -> None:
        """The upstream is written to at that second of the test's hour, in the past."""
        self.upstream.rows = [{"id": n, "color": "red" if n % 2 else "blue"} for n in range(rows)]
        self.upstream.written_at = f"2026-09-21T14:00:{second:02d}Z"

    @property
    def scans(self) -> int:
        return len(self.upstream.requests)

    @property
    def snapshots(self) -> int:
        return sum(key.startswith("snapshots/") for key in self.memory.objects)

    @property
    def generations(self) -> list[str]:
        return [
            k.rpartition("/")[2] for k in self.memory.objects if k.startswith("snapshot-leases")
        ]
