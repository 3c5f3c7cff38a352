"""A killed process, a second process, a full disk, a damaged file."""

from __future__ import annotations

import asyncio
import errno
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.core.errors import ErrorKind
from services.searchlog.spool import Spool, SpoolLimits
from services.searchlog.spool_folder import SegmentFile, SpoolLockedError
from tests.doubles.manual_clock import ManualClock


@asynccontextmanager
async def opened(folder: Path, limits: SpoolLimits | None = None) -> AsyncIterator[Spool]:
    spool = await Spool.open(folder, ManualClock(), limits or SpoolLimits())
    try:
        yield spool
    finally:
        await spool.close()


async def read_all(spool: Spool) -> list[bytes]:
    """Everything that is only on disk, released as if stored."""
    found: list[bytes] = []
    while (read := await spool.read_backlog()) is not None:
        group, payloads = read
        found += payloads
        spool.release(group, len(payloads))
    return found


async def start_process(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.spool_process",
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def killed_process(folder: Path, lines: int) -> tuple[int, str]:
    """Run the appender, SIGKILL it after some reports: its last synced number, and its errors."""
    process = await start_process(folder)
    assert process.stdout is not None
    try:
        for _ in range(lines):
            await process.stdout.readline()
    finally:
        process.kill()
    rest, errors = await process.communicate()
    reports = rest.split()
    return (int(reports[-1]) if reports else lines * 7 - 1), errors.decode()


async def test_synced_records_survive_sigkill(tmp_path: Path) -> None:
    last, errors = await killed_process(tmp_path, lines=60)
    assert errors == ""
    async with opened(tmp_path) as spool:
        found = await read_all(spool)
        # A few more may have reached the disk before their report did.
        assert len(found) > last
        assert found == [f"record-{n:08d}".encode() * 5 for n in range(len(found))]
        assert spool.size_bytes == 0
    assert not list(tmp_path.glob("*.spool")), "what is stored is deleted"


async def test_a_torn_tail_is_cut_counted_and_survived(tmp_path: Path) -> None:
    await killed_process(tmp_path, lines=3)
    newest = max(tmp_path.glob("*.spool"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-5])
    async with opened(tmp_path) as spool:
        torn = spool.counts.torn_bytes
        assert 0 < torn < 100
        assert newest.stat().st_size == len(whole) - 5 - torn
        found = await read_all(spool)
        assert found[-1] == f"record-{len(found) - 1:08d}".encode() * 5


async def test_zeros_after_the_last_record_are_cut(tmp_path: Path) -> None:
    await killed_process(tmp_path, lines=2)
    newest = max(tmp_path.glob("*.spool"))
    size = newest.stat().st_size
    with newest.open("ab") as file:
        file.write(bytes(4096))
    async with opened(tmp_path) as spool:
        assert spool.counts.torn_bytes == 4096
        assert newest.stat().st_size == size


async def test_damage_in_the_middle_costs_the_rest_of_one_segment(tmp_path: Path) -> None:
    await killed_process(tmp_path, lines=100)
    segments = sorted(tmp_path.glob("*.spool"))
    assert len(segments) >= 3
    data = bytearray(segments[1].read_bytes())
    data[len(data) // 2] ^= 0xFF
    segments[1].write_bytes(data)
    async with opened(tmp_path) as spool:
        found = await read_all(spool)
        assert 0 < spool.counts.torn_bytes < len(data)
    records = [int(payload[7:15]) for payload in found]
    first_after = next(b for a, b in itertools.pairwise(records) if b != a + 1)
    assert records == [*range(records.index(first_after)), *range(first_after, records[-1] + 1)]


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(SpoolLockedError, match="in use by another process") as caught:
            await Spool.open(tmp_path, ManualClock(), SpoolLimits())
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        process = await start_process(tmp_path)
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert "in use by another process" in errors.decode()
    async with opened(tmp_path):
        pass


class FullDisk:
    """Has segment writes fail after half of the bytes, or syncs fail, while it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.write_fails = False
        self.sync_fails = False
        write, sync = SegmentFile.write, SegmentFile.sync

        def failing_write(file: SegmentFile, data: bytes) -> None:
            if self.write_fails:
                write(file, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            write(file, data)

        def failing_sync(file: SegmentFile) -> None:
            sync(file)
            if self.sync_fails:
                raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(SegmentFile, "write", failing_write)
        monkeypatch.setattr(SegmentFile, "sync", failing_sync)


@pytest.mark.parametrize("fault", ["write", "sync"])
async def test_a_full_or_broken_disk_loses_nothing_that_fits_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    disk = FullDisk(monkeypatch)
    limits = SpoolLimits(max_buffer_bytes=1_000)
    async with opened(tmp_path, limits) as spool:
        first = spool.append(b"a" * 100, in_memory=True)
        assert first is not None
        assert await spool.flush()
        setattr(disk, f"{fault}_fails", True)
        groups = [spool.append(bytes([98 + i]) * 100, in_memory=True) for i in range(20)]
        kept = [group for group in groups if group is not None]
        assert 5 < len(kept) < 12, "beyond the buffer, records are refused"
        assert not await spool.flush()
        assert not await spool.flush()
        assert spool.counts.disk_failures == 2
        assert not kept[0].durable.is_set()

        setattr(disk, f"{fault}_fails", False)
        assert await spool.flush()
        assert all(group.durable.is_set() for group in kept)
        assert spool.append(b"z" * 100, in_memory=True) is not None
        assert await spool.flush()
    async with opened(tmp_path) as spool:
        found = await read_all(spool)
    expected = [b"a" * 100, *(bytes([98 + i]) * 100 for i in range(len(kept))), b"z" * 100]
    assert sorted(set(found)) == expected
    assert fault == "sync" or len(found) == len(expected)


async def test_an_entry_in_the_object_store_counts_as_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    disk.write_fails = True
    async with opened(tmp_path) as spool:
        group = spool.append(b"entry", in_memory=True)
        assert group is not None
        assert not await spool.flush()
        spool.release(group, 1)
        assert group.durable.is_set()
        after = spool.append(b"next", in_memory=True)
        assert after is not None
        assert not after.durable.is_set(), "a later record is not durable by association"
        disk.write_fails = False
        assert await spool.flush()
        spool.release(after, 1)
        assert spool.size_bytes == 0


async def test_the_spool_refuses_beyond_its_size_and_takes_again_after_release(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, SpoolLimits(max_bytes=1_000)) as spool:
        groups = []
        while (group := spool.append(b"x" * 92, in_memory=True)) is not None:
            groups.append(group)
            assert await spool.flush()
        assert len(groups) == 10
        for group in groups:
            spool.release(group, 1)
        assert spool.size_bytes == 0
        assert spool.append(b"x" * 92, in_memory=True) is not None


async def test_one_sync_serves_all_that_have_gathered(tmp_path: Path) -> None:
    async with opened(tmp_path) as spool:
        for n in range(500):
            assert spool.append(b"%d" % n, in_memory=True) is not None
        assert await spool.flush()
        assert spool.counts.syncs == 1


async def test_records_that_only_the_disk_holds_are_read_back_once_in_order(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, SpoolLimits(segment_bytes=300)) as spool:
        for n in range(40):
            spool.append(b"%03d" % n, in_memory=n % 10 == 0)
            if n % 4 == 0:
                assert await spool.flush()
        assert await spool.flush()
        assert await read_all(spool) == [b"%03d" % n for n in range(40) if n % 10]
        assert not spool.backlog
        assert spool.size_bytes > 0, "records in memory still need their segments"
