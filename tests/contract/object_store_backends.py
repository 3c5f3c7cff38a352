"""Every way to have an empty object store, for the one suite that they all pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from services.storage.files import FileObjectStore
from services.storage.object_store import ObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore

__all__ = ["BACKENDS", "Backend"]

Backend = Callable[[Path], AbstractAsyncContextManager[ObjectStore]]


@asynccontextmanager
async def memory(_: Path) -> AsyncIterator[ObjectStore]:
    yield MemoryObjectStore()


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[ObjectStore]:
    async with FileObjectStore(folder / "store") as store:
        yield store


BACKENDS: dict[str, Backend] = {"memory": memory, "files": files}
