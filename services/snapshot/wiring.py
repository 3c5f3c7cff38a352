"""Where SnapshotService's parts are put together."""

from __future__ import annotations

import platform
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
from layer.scan.v2 import scan_pb2, scan_pb2_grpc
from layer.snapshot.v2 import snapshot_pb2, snapshot_pb2_grpc
from opentelemetry.metrics import Meter

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.core.clock import Clock, SystemClock
from services.core.ids import random_id
from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.core.tasks import running
from services.edge.server import MAX_MESSAGE_BYTES, Service
from services.edge.settings import parse_keys
from services.indexes.file_catalog import FileIndexCatalog
from services.indexes.policies import Policies
from services.indexes.policy import IndexCatalog
from services.indexes.stored_policies import StoredPolicies
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_documents import CountDocuments
from services.snapshot.count_for_job import CountForJob
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_warm_for_job import WarmCountForJob
from services.snapshot.create_snapshot import CreateSnapshot
from services.snapshot.document_client import DocumentClient
from services.snapshot.drain import Drain
from services.snapshot.leases import Leases, LeaseTerms
from services.snapshot.model import ScanJob, SnapshotJob
from services.snapshot.retention import Retention
from services.snapshot.scan_origin import OriginScan
from services.snapshot.scan_servicer import ScanServicer
from services.snapshot.scan_values import COUNTED_VALUES, ScanValues, values_counter
from services.snapshot.servicer import SnapshotServicer
from services.snapshot.settings import SnapshotSettings
from services.snapshot.watch_kubernetes import watch_kubernetes
from services.snapshot.watch_namespaces import NamespaceWatcher, PollIntervals
from services.snapshot.watermarks import Watermarks
from services.snapshot.write_automatically import AutomaticWriter
from services.telemetry.counts import observe_counts
from services.telemetry.providers import Telemetry
from services.upstream.vector_store import VectorStore
from services.wiring.stores import open_cache, open_object_store, open_upstream

__all__ = ["Parts", "build", "open_parts"]


@dataclass(frozen=True)
class Parts:
    """What both the service and its plan are made of."""

    upstream: VectorStore
    reader: SnapshotReader
    writer: SnapshotWriter
    origin: OriginCount
    watermarks: Watermarks
    policies: Policies
    retention: Retention
    automatic: AutomaticWriter


@asynccontextmanager
async def open_parts(
    settings: SnapshotSettings, clock: Clock, meter: Meter | None = None, *, writes: bool = True
) -> AsyncIterator[Parts]:
    """The parts over open stores, with the policies read once."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            open_object_store(settings, clock, meter, checked=writes)
        )
        cache = await stack.enter_async_context(open_cache(settings, clock, meter))
        upstream = await stack.enter_async_context(open_upstream())

        reader = SnapshotReader(store, cache)
        writer = SnapshotWriter(store, cache)
        origin = OriginCount(
            OriginAggregation(upstream), OriginScan(upstream), settings.origin_strategy
        )
        watermarks = Watermarks(
            upstream,
            clock,
            margin_ms=settings.watermark_margin_ms,
            wait_seconds=settings.watermark_wait_seconds,
        )
        catalogs: list[IndexCatalog] = []
        if settings.index_folder:
            catalogs.append(FileIndexCatalog(settings.index_folder))
        if settings.kubernetes_indexes != "off":
            catalogs.append(await stack.enter_async_context(watch_kubernetes(settings, clock)))
        policies = Policies(
            catalogs,
            StoredPolicies(store),
            clock,
            refresh_seconds=settings.policy_refresh_seconds,
        )
        retention = Retention(store, clock)
        automatic = AutomaticWriter(
            watermarks=watermarks,
            origin=origin,
            reader=reader,
            writer=writer,
            leases=Leases(
                store,
                clock,
                replica=platform.node(),
                new_id=random_id,
                terms=LeaseTerms(settings.lease_seconds, settings.lease_skew_seconds),
            ),
            retention=retention,
            clock=clock,
            min_interval_ms=settings.snapshot_min_interval_ms,
        )
        await policies.refresh()
        yield Parts(upstream, reader, writer, origin, watermarks, policies, retention, automatic)


@asynccontextmanager
async def build(settings: SnapshotSettings, telemetry: Telemetry) -> AsyncIterator[Service]:
    """The service; its loops and stores end with the context, in reverse order."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings, clock, telemetry.meter))
        policies = parts.policies
        watcher = NamespaceWatcher(
            policies=policies,
            writer=parts.automatic,
            clock=clock,
            random_source=random.Random(),  # noqa: S311 - jitter, not a secret
            intervals=PollIntervals(settings.watch_updating_seconds, settings.watch_stable_seconds),
            reconcile_seconds=1.0,
        )
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(
                settings.document_address,
                interceptors=telemetry.client_interceptors,
                options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
            )
        )
        keys = parse_keys(settings.gateway_api_key)
        documents = DocumentClient(channel, keys[0] if keys else None)
        jobs = JobBook[SnapshotJob]("snapshot job")
        runner = JobRunner(jobs, clock)
        create = CreateSnapshot(
            jobs=jobs,
            runner=runner,
            reader=parts.reader,
            writer=parts.writer,
            count=CountForJob(jobs, parts.watermarks, parts.origin, policies.scan_threads),
            count_warm=WarmCountForJob(jobs, documents),
            clock=clock,
            new_id=random_id,
        )
        stack.push_async_callback(runner.close)
        scan_jobs = JobBook[ScanJob]("scan")
        scan_runner = JobRunner(scan_jobs, clock)
        stack.push_async_callback(scan_runner.close)
        values_origin = OriginCount(
            OriginAggregation(parts.upstream, field_cap=COUNTED_VALUES),
            OriginScan(parts.upstream, field_cap=COUNTED_VALUES, refuse_over_cap=True),
            settings.origin_strategy,
        )
        scans = ScanValues(
            jobs=scan_jobs,
            runner=scan_runner,
            reader=parts.reader,
            count=CountForJob(scan_jobs, parts.watermarks, values_origin, policies.scan_threads),
            count_warm=WarmCountForJob(scan_jobs, documents, values_counter),
            clock=clock,
            new_id=random_id,
        )
        observe_counts(
            telemetry.meter,
            automatic_snapshots=parts.automatic.counts,
            snapshot_jobs=runner.counts,
            scan_jobs=scan_runner.counts,
        )
        count_documents = CountDocuments(
            parts.reader, documents, parts.watermarks, parts.origin, clock
        )
        await stack.enter_async_context(running(policies.run()))
        # In a stack of its own: it ends before everything else, with the drain.
        watching = await stack.enter_async_context(AsyncExitStack())
        await watching.enter_async_context(running(watcher.run()))

        servicer = SnapshotServicer(
            create, jobs, policies, min_interval_ms=settings.snapshot_min_interval_ms
        )

        scan_servicer = ScanServicer(scans, scan_jobs, count_documents)

        def register(server: grpc.aio.Server) -> None:
            snapshot_pb2_grpc.add_SnapshotServiceServicer_to_server(servicer, server)
            scan_pb2_grpc.add_ScanServiceServicer_to_server(scan_servicer, server)

        names = [
            snapshot_pb2.DESCRIPTOR.services_by_name["SnapshotService"].full_name,
            scan_pb2.DESCRIPTOR.services_by_name["ScanService"].full_name,
        ]
        yield Service(register, names, Drain(watching.aclose, [runner, scan_runner], clock))
