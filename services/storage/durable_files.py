"""File operations that survive a power cut, and a place for files that are not whole yet."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["Incoming", "fsync_folder", "make_folders"]


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable; one that is gone holds none.

    Raises:
        OSError: the disk failed.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folders(folder: Path, *, top: Path | str) -> None:
    """Create a folder and its parents below `top`, durably.

    Folders that exist are fsynced into their parents as well: another process may have
    created one a moment ago and not come to that yet.

    Raises:
        OSError: one cannot be created.
    """
    top = Path(top)
    folder.mkdir(parents=True, exist_ok=True)
    while folder != top:
        # Not readable: a parent above what is ours, which others made durable.
        with suppress(PermissionError):
            fsync_folder(folder.parent)
        folder = folder.parent


class Incoming:
    """A folder of files that are being written, each process in a folder of its own.

    A process holds a lock on its own folder, so that a starting process can tell and remove
    what the dead have left without touching what the living write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = folder
        self._lock = -1
        self._numbers = itertools.count()

    def open(self) -> None:
        """Take an own folder and remove those of processes that are gone.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        everyone = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # One at a time: between creating a folder and locking it, it looks abandoned.
            fcntl.flock(everyone, fcntl.LOCK_EX)
            for entry in self._folder.iterdir():
                _remove_if_abandoned(entry)
            self._own = Path(tempfile.mkdtemp(dir=self._folder))
            self._lock = os.open(self._own, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            os.close(everyone)

    def write(self, body: bytes) -> Path:
        """Write and fsync a new file; nothing stays behind when that fails.

        Raises:
            OSError: the disk is full or failed.
        """
        path = self._own / str(next(self._numbers))
        try:
            with path.open("xb", buffering=0) as file:
                rest = memoryview(body)
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def close(self) -> None:
        """Give the own folder up."""
        if self._lock >= 0:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _remove_if_abandoned(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
