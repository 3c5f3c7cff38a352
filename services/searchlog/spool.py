"""The spool: received entries are on this machine's disk until they are in the object store.

Appending never waits and never fails for lack of a disk: records gather in a bounded buffer, and
one write and one fsync, off the event loop, serve all that have gathered. When the disk is full or
broken the buffer is tried again until it fits; meanwhile new records are refused once it is full.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from services.core.clock import Clock
from services.searchlog.frames import frame, scan
from services.searchlog.spool_folder import Segment, SegmentFile, SpoolFolder

__all__ = ["Group", "Spool", "SpoolCounts", "SpoolLimits"]

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_RETRY_SECONDS: Final = 0.5


@dataclass(frozen=True)
class SpoolLimits:
    """Sizes of a spool."""

    max_bytes: int = 4 * 1024**3
    """On disk, at most; further records are refused."""
    max_buffer_bytes: int = 64 * 1024**2
    """In memory, waiting for the disk."""
    segment_bytes: int = 64 * 1024**2
    segment_seconds: float = 30.0
    """A crash replays whole segments, so none stays open for long."""


@dataclass
class SpoolCounts:
    """What happened to the spool so far."""

    syncs: int = 0
    disk_failures: int = 0
    torn_bytes: int = 0
    """Bytes of records that a crash cut off, or that the disk damaged."""
    leftover_bytes: int = 0
    """Bytes that an earlier process left, to be replayed."""


class Group:
    """Records that one fsync makes durable together."""

    def __init__(self, *, in_memory: bool) -> None:
        self.in_memory = in_memory
        """The caller holds these records too; else they are read back later."""
        self.durable = asyncio.Event()
        self._frames: list[bytes] = []
        self._held = 0
        self._segment: Segment | None = None

    def add(self, record: bytes) -> None:
        self._frames.append(record)
        if self.in_memory:
            self._held += 1

    def data(self) -> bytes:
        return b"".join(self._frames)

    def settle(self, segment: Segment, records: int | None = None) -> None:
        """The records stand in that segment now."""
        if records is not None:
            self._held = records
        self._segment = segment
        segment.held += self._held
        self._frames = []
        self.durable.set()

    def release(self, count: int) -> Segment | None:
        """That many records are in the object store; the segment that holds them, if any yet."""
        self._held -= count
        if self._segment is not None:
            self._segment.held -= count
        elif self._held == 0:
            # The object store is safer than a disk that may be full.
            self.durable.set()
        return self._segment


@dataclass
class _Extent:
    """A stretch of a segment whose records are only on disk."""

    segment: Segment
    start: int
    end: int


class Spool:
    """Appends, syncs, reads back and deletes. One per folder; `run` must be running."""

    def __init__(self, folder: SpoolFolder, clock: Clock, limits: SpoolLimits) -> None:
        self.counts = SpoolCounts()
        self._folder = folder
        self._clock = clock
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._queue: deque[Group] = deque()
        self._arrived = asyncio.Event()
        self._buffered = 0
        self._on_disk = 0
        self._active: SegmentFile | None = None
        self._active_since = 0.0
        self._writing = False
        self._extents: deque[_Extent] = deque()

    @classmethod
    async def open(cls, path: Path, clock: Clock, limits: SpoolLimits) -> Spool:
        """Take the folder over and find what an earlier process left in it.

        Raises:
            SpoolLockedError: another process uses it.
            OSError: it cannot be made, read or written.
        """
        spool = cls(await asyncio.to_thread(SpoolFolder, path), clock, limits)
        await spool._in_thread(spool._take_over)
        return spool

    @property
    def starts(self) -> int:
        """How often a spool was opened in this folder, this one included."""
        return self._folder.starts

    @property
    def backlog(self) -> bool:
        """Some records are only on disk."""
        return bool(self._extents)

    @property
    def max_bytes(self) -> int:
        """What `size_bytes` never goes beyond."""
        return self._limits.max_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes on disk and on their way there."""
        return self._on_disk + self._buffered

    def append(self, payload: bytes, *, in_memory: bool) -> Group | None:
        """Take a record; None when the spool is full or its disk does not keep up.

        With `in_memory` the caller keeps the record as well, and `release`s it when it is stored;
        without, it is handed out again by `read_backlog`.
        """
        record = frame(payload)
        if self.size_bytes + len(record) > self._limits.max_bytes:
            return None
        if self._buffered + len(record) > self._limits.max_buffer_bytes:
            return None
        last = self._queue[-1] if self._queue else None
        if last is None or last.in_memory is not in_memory or last.durable.is_set():
            last = Group(in_memory=in_memory)
            self._queue.append(last)
            self._arrived.set()
        last.add(record)
        self._buffered += len(record)
        return last

    def release(self, group: Group, count: int) -> None:
        """That many records of the group are in the object store."""
        segment = group.release(count)
        if segment is not None:
            self._delete_if_spent(segment)

    async def read_backlog(self) -> tuple[Group, Sequence[bytes]] | None:
        """The next few MiB of records that are only on disk, oldest first; None: there are none.

        The records count as in memory from now on: `release` them.
        """
        while self._extents:
            extent = self._extents[0]
            try:
                data = await self._in_thread(
                    partial(self._folder.read, extent.segment, extent.start, extent.end)
                )
            except OSError:
                _logger.exception("cannot read spool segment")
                data = b""
            found = scan(data)
            extent.start += found.good_bytes
            if found.damaged or found.good_bytes == 0:
                self._report_torn(extent.segment, extent.end - extent.start)
                extent.start = extent.end
            group = Group(in_memory=True)
            group.settle(extent.segment, records=len(found.payloads))
            if extent.start >= extent.end:
                self._extents.popleft()
                extent.segment.unread_extents -= 1
                self._delete_if_spent(extent.segment)
            if found.payloads:
                return group, found.payloads
        return None

    async def run(self) -> None:
        """Write and sync what arrives, for as long as the task runs."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while not await self.flush():
                await self._clock.sleep(_RETRY_SECONDS)

    async def flush(self) -> bool:
        """Write and sync what waits now; False when the disk refuses it. Not to be called while
        another call is under way."""
        while self._queue:
            groups = list(self._queue)
            self._queue.clear()
            data = [group.data() for group in groups]
            before = self._active.segment if self._active else None
            self._writing = True
            try:
                segment, start = await self._in_thread(partial(self._write, b"".join(data)))
            except OSError as error:
                self.counts.disk_failures += 1
                _logger.warning("cannot write the spool", extra={"cause": str(error)})
                self._queue.extendleft(reversed(groups))
                return False
            except asyncio.CancelledError:
                # They may be on disk already; written twice, they are hidden by readers.
                self._queue.extendleft(reversed(groups))
                raise
            finally:
                self._writing = False
            self.counts.syncs += 1
            for group, piece in zip(groups, data, strict=True):
                self._settle(group, segment, start, len(piece))
                start += len(piece)
            self._delete_if_spent(segment)
            if before is not None and before is not segment:
                self._delete_if_spent(before)
        return True

    async def close(self) -> None:
        """Give the folder up. What is not stored stays for the next process; call `flush` before,
        once `run` has ended."""
        if self._active is not None:
            segment = self._active.segment
            self._seal(self._active)
            self._delete_if_spent(segment)
        await self._in_thread(self._folder.close)
        self._thread.shutdown()

    def _settle(self, group: Group, segment: Segment, start: int, length: int) -> None:
        self._buffered -= length
        self._on_disk += length
        group.settle(segment)
        if group.in_memory:
            return
        last = self._extents[-1] if self._extents else None
        if last is not None and last.segment is segment and last.end == start:
            last.end += length
        else:
            segment.unread_extents += 1
            self._extents.append(_Extent(segment, start, start + length))

    def _take_over(self) -> None:
        segments = self._folder.segments()
        if segments:
            torn = self._folder.cut_torn_tail(segments[-1])
            if torn:
                self._report_torn(segments[-1], torn)
        for segment in segments:
            self._on_disk += segment.size
            if segment.size == 0:
                self._folder.delete(segment)
                continue
            segment.unread_extents = 1
            self._extents.append(_Extent(segment, 0, segment.size))
        self.counts.leftover_bytes = self._on_disk

    def _report_torn(self, segment: Segment, size: int) -> None:
        self.counts.torn_bytes += size
        _logger.error(
            "spool records are damaged and skipped",
            extra={"segment": str(segment.path), "bytes": size},
        )

    def _write(self, data: bytes) -> tuple[Segment, int]:
        """In the spool's thread: append and sync; where the data stands.

        Raises:
            OSError: nothing of it is durable; the next attempt starts afresh.
        """
        now = self._clock.monotonic()
        if self._active is not None and (
            self._active.segment.size >= self._limits.segment_bytes
            or now - self._active_since >= self._limits.segment_seconds
        ):
            self._active.close()
            self._active.segment.sealed = True
            self._active = None
        if self._active is None:
            self._active = self._folder.create()
            self._active_since = now
        file = self._active
        file.write(data)
        try:
            file.sync()
        except OSError:
            # After a failed fsync the kernel may call lost pages clean: leave this file alone.
            self._active = None
            file.segment.sealed = True
            file.close()
            raise
        start = file.segment.size
        file.segment.size += len(data)
        return file.segment, start

    def _seal(self, file: SegmentFile) -> None:
        file.segment.sealed = True
        self._thread.submit(file.close)
        self._active = None

    def _delete_if_spent(self, segment: Segment) -> None:
        """Delete a segment that nobody needs; an idle spool leaves no file behind, so that a
        restart replays nothing."""
        active = self._active
        if active is not None and active.segment is segment:
            if segment.held or segment.unread_extents or self._queue or self._writing:
                return
            self._seal(active)
        if segment.spent and segment.size:
            self._on_disk -= segment.size
            segment.size = 0
            self._thread.submit(self._folder.delete, segment)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
