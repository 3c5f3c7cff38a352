"""Where SearchLogService's parts are put together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from envoyapi.service.accesslog.v3 import als_pb2, als_pb2_grpc
from layer.searchlog.v2 import searchlog_pb2, searchlog_pb2_grpc

from services.cache.cache import Cache
from services.core.clock import Clock, SystemClock
from services.core.ids import IdGenerator, random_id
from services.core.tasks import running
from services.edge.server import Service
from services.searchlog.access_log import AccessLogServicer
from services.searchlog.messages import MessageParser
from services.searchlog.metrics import observe
from services.searchlog.model import TrailCounts
from services.searchlog.object_bodies import ObjectBodies
from services.searchlog.put_batch import PutBatch
from services.searchlog.read_trail import ReadLimits, ReadTrail
from services.searchlog.record import Recorder
from services.searchlog.record_batches import RecordBatches
from services.searchlog.retain_trail import RetainTrail
from services.searchlog.servicer import SearchLogServicer
from services.searchlog.settings import SearchLogSettings
from services.searchlog.spool import Spool
from services.searchlog.stamps import Stamps
from services.searchlog.tails import Tails
from services.searchlog.tap import TapCounts, TapReader
from services.searchlog.writer import TrailWriter
from services.storage.object_store import ObjectStore
from services.telemetry.providers import Telemetry
from services.wiring.stores import open_cache, open_object_store

__all__ = ["SearchLog", "build", "open_searchlog"]


@dataclass(frozen=True)
class SearchLog:
    """The running service."""

    servicer: SearchLogServicer
    access_logs: AccessLogServicer
    writer: TrailWriter
    spool: Spool
    tap_counts: TapCounts


@asynccontextmanager
async def build(settings: SearchLogSettings, telemetry: Telemetry) -> AsyncIterator[Service]:
    """The service; what it holds is written, or stays in the spool, when the context closes."""
    clock = SystemClock()
    async with (
        open_object_store(settings, clock, telemetry.meter, checked=True) as store,
        open_cache(settings, clock, telemetry.meter) as cache,
        open_searchlog(
            settings, object_store=store, cache=cache, clock=clock, new_id=random_id
        ) as searchlog,
    ):
        observe(telemetry.meter, searchlog.tap_counts, searchlog.writer, searchlog.spool)

        def register(server: grpc.aio.Server) -> None:
            searchlog_pb2_grpc.add_SearchLogServiceServicer_to_server(searchlog.servicer, server)
            als_pb2_grpc.add_AccessLogServiceServicer_to_server(searchlog.access_logs, server)

        yield Service(
            register,
            [
                searchlog_pb2.DESCRIPTOR.services_by_name["SearchLogService"].full_name,
                als_pb2.DESCRIPTOR.services_by_name["AccessLogService"].full_name,
            ],
        )


@asynccontextmanager
async def open_searchlog(
    settings: SearchLogSettings,
    *,
    object_store: ObjectStore,
    cache: Cache,
    clock: Clock,
    new_id: IdGenerator,
) -> AsyncIterator[SearchLog]:
    """The service over given stores.

    Raises:
        SpoolLockedError: another process uses the spool folder.
        OSError: the spool folder cannot be used.
    """
    counts = TrailCounts()
    spool = await Spool.open(settings.spool_dir, clock, settings.spool_limits())
    rng = random.Random()  # noqa: S311 - jitter, not a secret
    writer = TrailWriter(
        spool,
        PutBatch(object_store, clock, rng, counts),
        clock,
        Stamps(settings.writer_digits, spool.starts),
        counts,
        rules=settings.flush_rules(),
        limits=settings.writer_limits(),
    )
    tails = Tails(writer, cache, clock, member=settings.writer_name)
    recorder = Recorder(writer)
    read = ReadTrail(
        object_store, ObjectBodies(object_store, cache), tails.unstored, clock, ReadLimits(), counts
    )
    tap = TapReader(clock, new_id)
    loops = [spool.run(), writer.run(), tails.run()]
    if settings.retention_ms is not None:
        retain = RetainTrail(object_store, cache, clock, counts, window_ms=settings.retention_ms)
        loops.append(retain.run(rng))
    try:
        async with running(*loops):
            try:
                yield SearchLog(
                    SearchLogServicer(
                        read, RecordBatches(recorder, writer), MessageParser(clock, new_id)
                    ),
                    AccessLogServicer(tap, recorder),
                    writer,
                    spool,
                    tap.counts,
                )
            finally:
                await writer.drain(settings.searchlog_close_seconds)
                await tails.refresh()
        await spool.flush()
    finally:
        await spool.close()
