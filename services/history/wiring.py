"""Where HistoryService's parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from layer.history.v2 import history_pb2, history_pb2_grpc

from services.archive.read_snapshots import SnapshotReader
from services.core.clock import SystemClock
from services.edge.server import Service
from services.history.list_activity import ListActivity
from services.history.servicer import HistoryServicer
from services.history.settings import HistorySettings
from services.telemetry.providers import Telemetry
from services.wiring.stores import open_cache, open_object_store

__all__ = ["build"]


@asynccontextmanager
async def build(settings: HistorySettings, telemetry: Telemetry) -> AsyncIterator[Service]:
    """The service; its stores close with the context."""
    clock = SystemClock()
    meter = telemetry.meter
    async with (
        open_object_store(settings, clock, meter) as store,
        open_cache(settings, clock, meter) as cache,
    ):
        reader = SnapshotReader(store, cache)
        servicer = HistoryServicer(reader, ListActivity(reader))

        def register(server: grpc.aio.Server) -> None:
            history_pb2_grpc.add_HistoryServiceServicer_to_server(servicer, server)

        name = history_pb2.DESCRIPTOR.services_by_name["HistoryService"].full_name
        yield Service(register, [name])
