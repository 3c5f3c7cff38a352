"""From a received entry to an object in the store: stamp, spool, batch, put.

An entry that was taken stays in the spool until an object holds it. Memory is bounded: past
`max_memory_bytes` entries are only spooled, and read back when there is room again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from services.core.clock import Clock
from services.formats.trail_keys import MAX_SPAN_NANOS
from services.searchlog.batch import Batch, FlushRules, HeldEntry
from services.searchlog.model import AckLevel, DropReason, Stream, TrailCounts
from services.searchlog.put_batch import PutBatch
from services.searchlog.spool import Group, Spool
from services.searchlog.spool_records import SpoolRecord, decode_record, encode_record
from services.searchlog.stamps import Stamps

__all__ = ["Receipt", "TrailWriter", "WriterLimits"]

_logger = logging.getLogger(__name__)
_TICK_SECONDS: Final = 0.1
_ENTRY_OVERHEAD_BYTES: Final = 200
_MAX_LINE_BYTES: Final = 2 * 1024**2


@dataclass(frozen=True)
class WriterLimits:
    """Bounds of a writer."""

    max_memory_bytes: int = 128 * 1024**2
    """Entries held in memory; more are only on disk until these are stored."""
    puts: int = 8
    """Objects written at the same time."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An entry that was taken."""

    stamp: int
    group: Group
    stored: asyncio.Future[None] | None


class TrailWriter:
    """Takes entries of all streams. `run` must be running; `drain` writes what is held."""

    def __init__(
        self,
        spool: Spool,
        put_batch: PutBatch,
        clock: Clock,
        stamps: Stamps,
        counts: TrailCounts,
        *,
        rules: FlushRules,
        limits: WriterLimits,
    ) -> None:
        self.counts = counts
        self._spool = spool
        self._put_batch = put_batch
        self._clock = clock
        self._stamps = stamps
        self._rules = rules
        self._limits = limits
        self._batches: dict[Stream, list[Batch]] = {}
        self._open: dict[Batch, None] = {}
        """Oldest first."""
        self._brisk: dict[Batch, None] = {}
        """Those of them that do not linger."""
        self._ready: deque[Batch] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._awaited: dict[tuple[Stream, int], asyncio.Future[None]] = {}
        self._memory_bytes = 0
        self._spilling = False
        self._changed: set[Stream] = set()

    def record(
        self,
        stream: Stream,
        served_ns: int,
        make_line: Callable[[int], bytes],
        ack: AckLevel = AckLevel.RECEIVED,
    ) -> Receipt | DropReason:
        """Take an entry; never waits.

        Args:
            served_ns: when it happened; the entry's stamp is this or a little later.
            make_line: the entry's line for a stamp.
            ack: STORED when the caller will await that.
        """
        self.counts.received += 1
        if self._clock.now_ns() - served_ns > MAX_SPAN_NANOS:
            self.counts.late += 1
        stamp = self._stamps.take(stream, served_ns)
        line = make_line(stamp)
        if len(line) > _MAX_LINE_BYTES:
            return self._drop(DropReason.TOO_LARGE)
        group = self._spool.append(
            encode_record(SpoolRecord(stream, stamp, line)), in_memory=not self._spilling
        )
        if group is None:
            return self._drop(DropReason.SPOOL_FULL)
        stored = None
        if ack is AckLevel.STORED:
            stored = self._awaited.setdefault(
                (stream, stamp), asyncio.get_running_loop().create_future()
            )
        if group.in_memory:
            self._hold(stream, HeldEntry(stamp, line, group))
        return Receipt(stamp, group, stored)

    async def acknowledged(self, receipts: Iterable[Receipt], level: AckLevel) -> None:
        """Return when all of them are as safe as that level says."""
        receipts = list(receipts)
        if level is AckLevel.FSYNCED:
            for group in {id(receipt.group): receipt.group for receipt in receipts}.values():
                await group.durable.wait()
        elif level is AckLevel.STORED:
            # Shielded: two callers may wait for the same entry.
            await asyncio.gather(*(asyncio.shield(r.stored) for r in receipts if r.stored))

    @property
    def held_bytes(self) -> int:
        """Memory of the entries that no object holds yet."""
        return self._memory_bytes

    @property
    def oldest_waiting_seconds(self) -> float:
        """How long the oldest of them has been held; 0 when there are none."""
        opened = [batches[0].opened_at for batches in self._batches.values()]
        return self._clock.monotonic() - min(opened) if opened else 0.0

    def unstored(self, stream: Stream) -> Sequence[HeldEntry]:
        """Entries in memory that no object holds yet, in no order."""
        return [entry for batch in self._batches.get(stream, ()) for entry in batch.entries]

    def take_changed(self) -> set[Stream]:
        """Streams whose unstored entries changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    async def run(self) -> None:
        """Flush, store and read back for as long as the task runs."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._close_due_batches())
            group.create_task(self._read_backlog())
            for _ in range(self._limits.puts):
                group.create_task(self._store_batches())

    async def drain(self, timeout_seconds: float) -> bool:
        """Store everything that is held; False when that took too long. The rest is spooled.
        `run` must still be running."""
        for batch in list(self._open):
            self._close(batch)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
        except TimeoutError:
            _logger.warning("entries stay in the spool", extra={"bytes": self._memory_bytes})
            return False
        return True

    def _drop(self, reason: DropReason) -> DropReason:
        self.counts.dropped[reason] += 1
        return reason

    def _hold(self, stream: Stream, entry: HeldEntry) -> None:
        batches = self._batches.setdefault(stream, [])
        # (The newest one nearly always.)
        batch = batches[-1] if batches else None
        if batch is None or not batch.fits(entry.nanos):
            batch = next((b for b in reversed(batches) if b.fits(entry.nanos)), None)
        if batch is None:
            batch = Batch(stream, self._clock.monotonic())
            batches.append(batch)
            self._open[batch] = None
        batch.add(entry)
        if self._awaited and (stream, entry.nanos) in self._awaited:
            batch.awaited = True
        self._memory_bytes += len(entry.line) + 1 + _ENTRY_OVERHEAD_BYTES
        self._spilling = self._spilling or self._memory_bytes > self._limits.max_memory_bytes
        self._idle.clear()
        self._changed.add(stream)
        if batch.full(self._rules):
            self._close(batch)
        elif batch not in self._brisk and batch.brisk(self._rules):
            self._brisk[batch] = None

    def _close(self, batch: Batch) -> None:
        if not batch.closed:
            batch.closed = True
            del self._open[batch]
            self._brisk.pop(batch, None)
            self._ready.append(batch)
            self._arrived.set()

    async def _close_due_batches(self) -> None:
        while True:
            await self._clock.sleep(_TICK_SECONDS)
            for batch in self._due(self._clock.monotonic()):
                self._close(batch)

    def _due(self, now: float) -> Sequence[Batch]:
        """Open batches whose oldest entry has waited long enough. With a namespace a tenant there
        may be tens of thousands of batches: only those that may be due are visited."""
        lingered, hurried = now - self._rules.linger_seconds, now - self._rules.brisk_seconds
        due = list(takewhile(lambda batch: batch.opened_at <= lingered, self._open))
        return due + [batch for batch in self._brisk if batch.opened_at <= hurried]

    async def _store_batches(self) -> None:
        while True:
            while not self._ready:
                self._arrived.clear()
                await self._arrived.wait()
            batch = self._ready.popleft()
            await self._put_batch(batch)
            self._forget(batch)

    def _forget(self, batch: Batch) -> None:
        """The batch is in the store."""
        batches = self._batches[batch.stream]
        batches.remove(batch)
        if not batches:
            del self._batches[batch.stream]
        self.counts.written += len(batch.entries)
        self._changed.add(batch.stream)
        for group, count in Counter(entry.group for entry in batch.entries).items():
            self._spool.release(group, count)
        self._memory_bytes -= batch.size_bytes + len(batch.entries) * _ENTRY_OVERHEAD_BYTES
        for entry in batch.entries if batch.awaited else ():
            waiting = self._awaited.pop((batch.stream, entry.nanos), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if self._has_room():
            self._spilling = False
        if not self._batches:
            self._idle.set()

    def _has_room(self) -> bool:
        return self._memory_bytes <= self._limits.max_memory_bytes // 2

    async def _read_backlog(self) -> None:
        while True:
            if not (self._spool.backlog and self._has_room()):
                await self._clock.sleep(_TICK_SECONDS)
                continue
            read = await self._spool.read_backlog()
            if read is not None:
                self._hold_again(*read)

    def _hold_again(self, group: Group, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            record = decode_record(payload)
            if record is None:
                self.counts.malformed += 1
                self._spool.release(group, 1)
                continue
            self.counts.replayed += 1
            self._hold(record.stream, HeldEntry(record.nanos, record.line, group))
