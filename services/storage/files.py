"""Objects as files under a folder: the embedded default."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from services.storage import file_listing, file_names
from services.storage.durable_files import Incoming, fsync_folder, make_folders
from services.storage.keys import validate_folder, validate_key, validate_listing
from services.storage.object_store import StoreRefusedError, StoreUnavailableError

__all__ = ["FileObjectStore"]

_T = TypeVar("_T")

_PLACE_ATTEMPTS = 20
"""Puts that found their folder pruned by a concurrent delete; each loss needs another delete."""


class FileObjectStore:
    """An object store in a local folder, shared by any number of processes.

    `root/objects/` holds the objects, named as `file_names` says; `root/incoming/` holds
    bodies that are still being written. A body is written and fsynced there, then renamed
    (or, with `if_absent`, linked, which fails where a file exists) into place, and the
    folder is fsynced: so a crash at any point leaves the whole body or none.

    The root needs a case-sensitive file system with hard links and `flock`.

    File work runs on `threads` threads that the store owns; queued calls are bounded by
    their callers, who wait.
    """

    def __init__(self, root: Path, *, threads: int = 8) -> None:
        self._objects = root / "objects"
        self._incoming = Incoming(root / "incoming")
        self._threads = threads
        self._executor: ThreadPoolExecutor | None = None
        self._durable_folders: set[Path] = set()

    async def open(self) -> None:
        """Create the folders and remove what crashed writers left behind.

        Raises:
            StoreUnavailableError: the root cannot be written.
        """
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="file-store")
            await self._run("open", self._open)

    async def close(self) -> None:
        """Finish what runs; the store cannot be used until it is opened again."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await asyncio.to_thread(executor.shutdown)
            self._incoming.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, key: str) -> bytes | None:
        validate_key(key)
        return await self._run(f"get {key}", lambda: _read(self._path(key)))

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        validate_key(key)
        return await self._run(
            f"put {key}", lambda: self._put(self._path(key), body, if_absent=if_absent)
        )

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        validate_listing(prefix, start_after, limit)
        return await self._run(
            f"list {prefix}",
            lambda: file_listing.page(self._objects, prefix, start_after, limit),
        )

    async def list_children(self, prefix: str) -> Sequence[str]:
        validate_folder(prefix)
        return await self._run(
            f"list {prefix}", lambda: file_listing.children(self._objects, prefix)
        )

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            validate_key(key)
        if keys:
            await self._run(
                f"delete of {len(keys)} keys from {keys[0]}",
                lambda: self._delete([self._path(key) for key in keys]),
            )

    async def _run(self, what: str, work: Callable[[], _T]) -> _T:
        if self._executor is None:
            raise StoreUnavailableError("file store is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except OSError as error:
            refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
            kind = StoreRefusedError if refused else StoreUnavailableError
            # strerror, not str: the message names the key and not this machine's folders.
            raise kind(f"{what} failed: {error.strerror}") from error

    def _path(self, key: str) -> Path:
        return self._objects / file_names.path_of(key)

    def _open(self) -> None:
        make_folders(self._objects, top=self._objects.anchor)
        self._incoming.open()

    def _put(self, path: Path, body: bytes, *, if_absent: bool) -> bool:
        if if_absent and path.exists():
            # Its writer may not have come to this line of its own yet, and our answer
            # says that the object is there for good.
            fsync_folder(path.parent)
            return False
        temporary = self._incoming.write(body)
        try:
            return self._place(temporary, path, if_absent=if_absent)
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, temporary: Path, path: Path, *, if_absent: bool) -> bool:
        for attempt in range(_PLACE_ATTEMPTS):
            self._make_durable_folder(path.parent)
            written = True
            try:
                if if_absent:
                    os.link(temporary, path)
                else:
                    os.replace(temporary, path)
            except FileExistsError:
                written = False
            except FileNotFoundError:
                # A concurrent delete pruned the folder in between.
                self._durable_folders.discard(path.parent)
                if attempt + 1 == _PLACE_ATTEMPTS:
                    raise
                continue
            fsync_folder(path.parent)
            return written
        raise AssertionError("unreachable")

    def _make_durable_folder(self, folder: Path) -> None:
        if folder not in self._durable_folders:
            make_folders(folder, top=self._objects)
            if len(self._durable_folders) >= 10_000:
                self._durable_folders.clear()
            self._durable_folders.add(folder)

    def _delete(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            fsync_folder(folder)
            self._prune(folder)

    def _prune(self, folder: Path) -> None:
        while folder != self._objects:
            self._durable_folders.discard(folder)
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return
                raise
            folder = folder.parent


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
