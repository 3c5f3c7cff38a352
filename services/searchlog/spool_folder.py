"""The spool's files: one lock, numbered segments. Everything here blocks; it runs off the loop."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.core.errors import ErrorKind, LayerError
from services.searchlog.frames import MAX_RECORD_BYTES, scan

__all__ = ["Segment", "SegmentFile", "SpoolFolder", "SpoolLockedError"]

_logger = logging.getLogger(__name__)
_SEGMENT = re.compile(r"(\d{12})\.spool", re.ASCII)
_READ_BYTES: Final = MAX_RECORD_BYTES
"""Holds at least one record, and not so many that taking them in holds up the event loop."""


class SpoolLockedError(LayerError):
    """Another process uses the folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            ErrorKind.UNAVAILABLE,
            f"spool folder {folder} is in use by another process; give each its own",
        )


@dataclass
class Segment:
    """A file of records, and how many of them are not in the object store yet."""

    number: int
    path: Path
    size: int = 0
    """Bytes of whole, synced records."""
    held: int = 0
    """Records in memory that are not stored."""
    unread_extents: int = 0
    """Stretches that are only on disk."""
    sealed: bool = True
    """Nothing is appended any more."""

    @property
    def spent(self) -> bool:
        return self.sealed and self.held == 0 and self.unread_extents == 0


class SegmentFile:
    """The segment that is appended to."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(segment.path, flags, 0o600)

    def write(self, data: bytes) -> None:
        """Write after the last whole record; what a failed attempt left there is overwritten."""
        view, at = memoryview(data), self.segment.size
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class SpoolFolder:
    """Owns the folder while it is open.

    Raises:
        SpoolLockedError: another process owns it.
        OSError: the folder cannot be made, read or written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SpoolLockedError(folder) from None
        self._last_number = 0
        self.starts = self._count_start()
        """How often the folder was opened, this time included."""

    def segments(self) -> Sequence[Segment]:
        """What an earlier process left, oldest first."""
        found = []
        for path in self._folder.iterdir():
            match = _SEGMENT.fullmatch(path.name)
            if match:
                found.append(Segment(int(match[1]), path, path.stat().st_size))
        found.sort(key=lambda segment: segment.number)
        self._last_number = max((segment.number for segment in found), default=0)
        return found

    def create(self) -> SegmentFile:
        """A new, empty segment."""
        self._last_number += 1
        path = self._folder / f"{self._last_number:012d}.spool"
        file = SegmentFile(Segment(self._last_number, path, sealed=False))
        try:
            self._sync_folder()
        except OSError:
            file.close()
            path.unlink()
            raise
        return file

    def read(self, segment: Segment, start: int, end: int) -> bytes:
        """Those bytes, at most a few MiB of them; shorter when the file is."""
        with segment.path.open("rb") as file:
            file.seek(start)
            return file.read(min(end - start, _READ_BYTES))

    def cut_torn_tail(self, segment: Segment) -> int:
        """Drop what follows the last whole record; the number of bytes dropped."""
        at = 0
        while True:
            found = scan(self.read(segment, at, segment.size))
            at += found.good_bytes
            if found.damaged or found.good_bytes == 0:
                break
        torn = segment.size - at
        if torn:
            os.truncate(segment.path, at)
            segment.size = at
        return torn

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _count_start(self) -> int:
        path = self._folder / "starts"
        try:
            starts = int(path.read_text(encoding="ascii")) + 1
        except (FileNotFoundError, ValueError):
            starts = 1
        new = self._folder / "starts.new"
        new.write_text(str(starts), encoding="ascii")
        new.replace(path)
        return starts

    def delete(self, segment: Segment) -> None:
        """Forget a segment. A file that stays is replayed once more, which readers hide."""
        try:
            segment.path.unlink(missing_ok=True)
        except OSError:
            _logger.warning("cannot delete spool segment", extra={"path": str(segment.path)})

    def close(self) -> None:
        """Give the folder up; the lock file stays, since a new one would not exclude its owner."""
        os.close(self._lock)
