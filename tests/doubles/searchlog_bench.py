"""The parts of SearchLogService on one desk: a spool on disk, and stores that a test chooses."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cache.cache import Cache
from services.core.clock import Clock
from services.core.ids import parse_namespace
from services.formats.trail_keys import TrailKind
from services.searchlog.batch import FlushRules
from services.searchlog.model import AckLevel, DropReason, Search, Stream, TrailCounts
from services.searchlog.object_bodies import ObjectBodies
from services.searchlog.put_batch import PutBatch
from services.searchlog.read_trail import ReadLimits, ReadTrail
from services.searchlog.record import Recorder
from services.searchlog.spool import Spool, SpoolLimits
from services.searchlog.stamps import Stamps
from services.searchlog.tails import Tails
from services.searchlog.writer import Receipt, TrailWriter, WriterLimits
from services.storage.object_store import ObjectStore

__all__ = ["Bench", "open_bench", "search", "searches"]


@dataclass
class Bench:
    """One replica."""

    spool: Spool
    writer: TrailWriter
    recorder: Recorder
    tails: Tails
    reader: ReadTrail
    counts: TrailCounts

    def keep(
        self, namespace: str, served_ns: int, ack: AckLevel = AckLevel.RECEIVED, **fields: object
    ) -> Receipt | DropReason:
        return self.recorder.search(search(namespace, served_ns, **fields), ack)


def search(namespace: str, served_ns: int, **fields: object) -> Search:
    """A search, the least of one unless told."""
    values: dict[str, object] = {"trace_id": "0" * 31 + "1", "query": {}} | fields
    return Search(namespace=parse_namespace(namespace), served_ns=served_ns, **values)  # type: ignore[arg-type]


def searches(namespace: str) -> Stream:
    """The search history of a namespace."""
    return Stream(TrailKind.SEARCHES, parse_namespace(namespace))


@asynccontextmanager
async def open_bench(
    folder: Path,
    store: ObjectStore,
    cache: Cache,
    clock: Clock,
    *,
    digits: int = 7,
    rules: FlushRules | None = None,
    writer_limits: WriterLimits | None = None,
    spool_limits: SpoolLimits | None = None,
    read_limits: ReadLimits | None = None,
    seed: int = 1,
) -> AsyncIterator[Bench]:
    """A running replica. Leaving the context is a crash: nothing is flushed."""
    spool = await Spool.open(folder, clock, spool_limits or SpoolLimits())
    counts = TrailCounts()
    put_batch = PutBatch(store, clock, random.Random(seed), counts)
    writer = TrailWriter(
        spool,
        put_batch,
        clock,
        Stamps(digits, spool.starts),
        counts,
        rules=rules or FlushRules(),
        limits=writer_limits or WriterLimits(),
    )
    tails = Tails(writer, cache, clock, member=f"writer-{digits}")
    bodies = ObjectBodies(store, cache)
    reader = ReadTrail(store, bodies, tails.unstored, clock, read_limits or ReadLimits(), counts)
    loops = [asyncio.create_task(loop) for loop in (spool.run(), writer.run(), tails.run())]
    # They rest at the clock before a test moves it.
    for _ in range(5):
        await asyncio.sleep(0)
    try:
        yield Bench(spool, writer, Recorder(writer), tails, reader, counts)
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await spool.close()
