"""Opening one LMDB environment from several processes, and starting anew when it is damaged."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb

from services.cache.cache import CacheUnavailableError

__all__ = ["DAMAGE", "LmdbEnvironment", "OpenEnvironment"]

DAMAGE = (
    lmdb.BadDbiError,
    lmdb.CorruptedError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)
"""Errors that the same files will give again."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NUMBER = re.compile(r"-(\d+)\Z")


@dataclass(frozen=True)
class OpenEnvironment:
    """One environment and its two databases; closed when the last user lets go of it."""

    env: lmdb.Environment
    records: Any
    queue: Any
    data_file: Path
    max_pages: int


class LmdbEnvironment:
    """The newest environment in a folder: `folder/{boot}-{number}/data.mdb`.

    Replacing an environment is making the next number and removing the others, so that
    processes (and a transaction in another thread) that still map the old one are not cut
    off from under: they see that its file is gone, and come here again.

    LMDB's commits are not fsynced: a killed process harms nothing, a power cut can. So an
    environment is used during one boot of the machine only (Linux's `boot_id` is in its
    name); where the boot is not known, commits are fsynced.
    """

    def __init__(self, folder: Path, *, map_size_bytes: int) -> None:
        self._folder = folder
        self._map_size_bytes = map_size_bytes
        self._boot = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""

    def open(self, *, damaged: OpenEnvironment | None = None) -> OpenEnvironment:
        """The newest environment; a new one when there is none or it is damaged.

        With `damaged`, that one is given up if it is still the newest.

        Raises:
            CacheUnavailableError: the folder cannot be written, or this process has it open.
        """
        try:
            with self._lock():
                name = self._newest()
                if damaged is not None and name == damaged.data_file.parent.name:
                    name = self._after(name)
                try:
                    opened = self._open(name)
                except DAMAGE:
                    opened = self._open(self._after(name))
                self._remove_all_but(opened.data_file.parent.name)
                return opened
        except (OSError, lmdb.Error) as error:
            raise CacheUnavailableError("lmdb cache cannot be opened") from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _newest(self) -> str:
        names = [path.name for path in self._folder.glob(f"{self._boot}-*") if path.is_dir()]
        return max(names, key=_number, default=f"{self._boot}-0")

    def _after(self, name: str) -> str:
        return f"{self._boot}-{_number(name) + 1}"

    def _open(self, name: str) -> OpenEnvironment:
        path = self._folder / name
        env = lmdb.open(
            os.fspath(path),
            map_size=self._map_size_bytes,
            max_dbs=2,
            max_readers=512,
            sync=not self._boot,
            metasync=False,
            meminit=False,
            readahead=False,
        )
        data_file = path / "data.mdb"
        page_bytes = env.stat()["psize"]
        if data_file.stat().st_size < (env.info()["last_pgno"] + 1) * page_bytes:
            # Reading past the end of a mapped file would kill the process.
            env.close()
            raise lmdb.CorruptedError("data file is cut off")
        # Readers that were killed would keep pages from being used again.
        env.reader_check()
        return OpenEnvironment(
            env=env,
            records=env.open_db(b"records"),
            queue=env.open_db(b"queue", dupsort=True),
            data_file=data_file,
            max_pages=self._map_size_bytes // page_bytes,
        )

    def _remove_all_but(self, name: str) -> None:
        for path in self._folder.iterdir():
            if path.is_dir() and path.name != name:
                with suppress(OSError):
                    shutil.rmtree(path)


def _number(name: str) -> int:
    match = _NUMBER.search(name)
    return int(match.group(1)) if match else 0
