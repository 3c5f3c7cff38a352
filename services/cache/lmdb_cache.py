"""The embedded cache: an LMDB file that the processes of one machine share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import lmdb

from services.cache import lmdb_records, lmdb_tables
from services.cache.cache import MAX_VALUE_BYTES, CacheUnavailableError
from services.cache.lmdb_environment import DAMAGE, LmdbEnvironment, OpenEnvironment
from services.core.clock import Clock

__all__ = ["LmdbCache", "LmdbCounts"]

_T = TypeVar("_T")

_FULL = 0.8
"""Evict above this share of the map. In a really full map even a delete fails, since LMDB
writes changed pages anew; and large values need adjoining pages."""

_BATCH_SHARE = 1 / 32
"""A transaction's share of the map, so that it fits into what `_FULL` leaves free."""

_SWEEP_RECORDS = 64
_EVICT_RECORDS = 1000
_EVICT_ROUNDS = 16

_INLINE_KEYS = 16
"""Reads of so few keys run on the event loop: measured at 2 to 8 microseconds, where handing
them to a thread costs 80. LMDB's readers never wait for its writers."""

_CHECK_SECONDS = 1.0
"""How often to look whether another process (or person) has replaced the files."""


@dataclass
class LmdbCounts:
    """What the cache let go of, since it was made."""

    expired: int = 0
    evicted: int = 0
    too_large: int = 0
    emptied: int = 0
    """Times that damaged or hopelessly fragmented files were given up."""


@dataclass(frozen=True, slots=True)
class _Entry:
    key: bytes
    name: bytes
    value: bytes


class LmdbCache:
    """A cache in `folder`, for all processes of a machine that give the same map size.

    Writes and large reads run on one thread that the cache owns (LMDB has one writer at a
    time anyway). Damaged or deleted files are replaced by new ones. What cannot be caught is
    someone cutting the open data file short: never edit it in place, delete the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        map_size_bytes: int,
        clock: Clock,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        if max_value_bytes > map_size_bytes * _BATCH_SHARE:
            raise ValueError("map_size_bytes must be at least 32 times max_value_bytes")
        self.counts = LmdbCounts()
        self._clock = clock
        self._max_value_bytes = max_value_bytes
        self._max_batch_bytes = int(map_size_bytes * _BATCH_SHARE)
        self._environment = LmdbEnvironment(folder, map_size_bytes=map_size_bytes)
        self._opened: OpenEnvironment | None = None
        self._check_at = 0.0
        self._executor: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Start the cache's thread. The files are opened by the first call, and again by
        later ones while that fails."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="lmdb-cache")

    async def close(self) -> None:
        """Finish what runs and let go of the files."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await asyncio.to_thread(executor.shutdown)
            self._opened = None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        opened = self._opened
        if len(keys) <= _INLINE_KEYS and opened is not None and not self._must_check():
            try:
                return self._get(opened, keys)
            except lmdb.Error:
                # The thread meets the same error, and can act on it.
                pass
        return await self._run(lambda opened: self._get(opened, keys))

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        entries = [_Entry(*lmdb_records.value_key(key), value) for key, value in values.items()]
        return await self._put(entries, ttl_seconds)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._run(
            lambda opened: self._forget(opened, [lmdb_records.value_key(key)[0] for key in keys])
        )

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        entry = _Entry(
            lmdb_records.member_key(group, member), lmdb_records.member_name(group, member), value
        )
        return await self._put([entry], ttl_seconds) == 1

    async def members(self, group: str) -> Mapping[str, bytes]:
        return await self._run(lambda opened: self._members(opened, group))

    async def _put(self, entries: Sequence[_Entry], ttl_seconds: float | None) -> int:
        fitting = [entry for entry in entries if len(entry.value) <= self._max_value_bytes]
        too_large = [entry.key for entry in entries if len(entry.value) > self._max_value_bytes]
        self.counts.too_large += len(too_large)
        if too_large:
            await self._run(lambda opened: self._forget(opened, too_large))
        for batch in self._batches(fitting):
            await self._run(partial(self._store, batch=batch, ttl_seconds=ttl_seconds))
        return len(fitting)

    def _batches(self, entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
        batch: list[_Entry] = []
        batch_bytes = 0
        for entry in entries:
            if batch and batch_bytes + len(entry.value) > self._max_batch_bytes:
                yield batch
                batch, batch_bytes = [], 0
            batch.append(entry)
            batch_bytes += len(entry.value)
        if batch:
            yield batch

    # What follows runs on the cache's thread, except short reads.

    def _get(self, opened: OpenEnvironment, keys: Sequence[str]) -> dict[str, bytes]:
        now_ns = self._clock.now_ns()
        found: dict[str, bytes] = {}
        with opened.env.begin(db=opened.records, buffers=True) as txn:
            for key in keys:
                stored_key, name = lmdb_records.value_key(key)
                stored = txn.get(stored_key)
                record = stored and lmdb_records.Record.parse(stored, now_ns)
                if record and record.name == name:
                    found[key] = bytes(record.value)
        return found

    def _members(self, opened: OpenEnvironment, group: str) -> dict[str, bytes]:
        now_ns = self._clock.now_ns()
        prefix, name_start = lmdb_records.group_prefix(group)
        found: dict[str, bytes] = {}
        with opened.env.begin(db=opened.records, buffers=True) as txn:
            cursor = txn.cursor()
            positioned = cursor.set_range(prefix)
            while positioned and bytes(cursor.key()).startswith(prefix):
                record = lmdb_records.Record.parse(cursor.value(), now_ns)
                if record and record.name.startswith(name_start):
                    found[record.name[len(name_start) :].decode()] = bytes(record.value)
                positioned = cursor.next()
        return found

    def _store(
        self, opened: OpenEnvironment, batch: Sequence[_Entry], ttl_seconds: float | None
    ) -> None:
        self._make_room(opened, sum(len(entry.value) for entry in batch))
        now_ns = self._clock.now_ns()
        queued = lmdb_records.queue_key(now_ns, ttl_seconds)
        with opened.env.begin(write=True, buffers=True) as txn:
            expired = lmdb_tables.sweep(opened, txn, now_ns, _SWEEP_RECORDS)
            for entry in batch:
                stored = lmdb_records.record(queued, entry.name, entry.value)
                lmdb_tables.store(opened, txn, entry.key, stored)
        self.counts.expired += expired

    def _forget(self, opened: OpenEnvironment, keys: Sequence[bytes]) -> None:
        with opened.env.begin(write=True, buffers=True) as txn:
            for key in keys:
                lmdb_tables.forget(opened, txn, key)

    def _make_room(self, opened: OpenEnvironment, more_bytes: int) -> None:
        for _ in range(_EVICT_ROUNDS):
            with opened.env.begin() as txn:
                if lmdb_tables.fraction_used(opened, txn, more_bytes) <= _FULL:
                    return
            self._evict(opened)

    def _evict(self, opened: OpenEnvironment) -> None:
        # Its own transaction: the pages it frees cannot be used by the one that frees them.
        with opened.env.begin(write=True, buffers=True) as txn:
            evicted = lmdb_tables.evict(opened, txn, self._clock.now_ns(), _EVICT_RECORDS)
        self.counts.evicted += evicted

    async def _run(self, work: Callable[[OpenEnvironment], _T]) -> _T:
        if self._executor is None:
            raise CacheUnavailableError("lmdb cache is not open")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._attempt, work)

    def _attempt(self, work: Callable[[OpenEnvironment], _T]) -> _T:
        opened = self._current()
        try:
            return work(opened)
        except lmdb.MapFullError:
            return self._attempt_in_less(opened, work)
        except DAMAGE as error:
            self._start_anew(opened)
            raise CacheUnavailableError("lmdb cache was damaged and is empty now") from error
        except lmdb.Error as error:
            raise CacheUnavailableError("lmdb cache failed") from error

    def _attempt_in_less(
        self, opened: OpenEnvironment, work: Callable[[OpenEnvironment], _T]
    ) -> _T:
        try:
            # A reader that was killed keeps every page that was freed since from use.
            if not opened.env.reader_check():
                self._evict(opened)
            return work(opened)
        except lmdb.Error as error:
            # A map too full even for deletes stays so: only new files help.
            self._start_anew(opened)
            raise CacheUnavailableError("lmdb cache was full and is empty now") from error

    def _must_check(self) -> bool:
        return self._clock.monotonic() >= self._check_at

    def _current(self) -> OpenEnvironment:
        opened = self._opened
        if opened is not None and self._must_check() and not opened.data_file.exists():
            opened = None
        if opened is None:
            # Before opening: LMDB refuses to have one path open twice in a process.
            self._opened = None
            opened = self._opened = self._environment.open()
        self._check_at = self._clock.monotonic() + _CHECK_SECONDS
        return opened

    def _start_anew(self, opened: OpenEnvironment) -> None:
        self.counts.emptied += 1
        self._opened = None
        self._opened = self._environment.open(damaged=opened)
