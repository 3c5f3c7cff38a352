"""Every way to have an empty object store, for the one suite that they all pass."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.storage.counting import CountingObjectStore
from services.storage.files import FileObjectStore
from services.storage.object_store import ObjectStore
from services.storage.retrying import RetryingObjectStore, RetryPolicy
from tests.contract.s3_server import S3Server
from tests.doubles.fake_clock import FakeClock
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.gated_object_store import GatedObjectStore
from tests.doubles.memory_object_store import MemoryObjectStore

__all__ = ["BACKENDS", "Surroundings"]


@dataclass(frozen=True)
class Surroundings:
    """What a backend may need."""

    folder: Path
    s3_server: Callable[[], S3Server]
    seed: int


@asynccontextmanager
async def memory(_: Surroundings) -> AsyncIterator[ObjectStore]:
    yield MemoryObjectStore()


@asynccontextmanager
async def files(surroundings: Surroundings) -> AsyncIterator[ObjectStore]:
    async with FileObjectStore(surroundings.folder / "store") as store:
        yield store


@asynccontextmanager
async def s3(surroundings: Surroundings) -> AsyncIterator[ObjectStore]:
    async with surroundings.s3_server().empty_store() as store:
        yield store


@asynccontextmanager
async def counting(_: Surroundings) -> AsyncIterator[ObjectStore]:
    yield CountingObjectStore(MemoryObjectStore())


@asynccontextmanager
async def gated(_: Surroundings) -> AsyncIterator[ObjectStore]:
    yield GatedObjectStore(MemoryObjectStore())


@asynccontextmanager
async def retrying_flaky(surroundings: Surroundings) -> AsyncIterator[ObjectStore]:
    """A third of the calls fail, half of those after their effect: nobody may notice."""
    clock = FakeClock()
    flaky = FlakyObjectStore(
        MemoryObjectStore(),
        clock=clock,
        seed=surroundings.seed,
        error_before_rate=0.17,
        error_after_rate=0.17,
        max_latency_seconds=1.0,
    )
    yield RetryingObjectStore(
        flaky,
        clock=clock,
        rng=random.Random(surroundings.seed),
        policy=RetryPolicy(attempts=30),
    )


BACKENDS: dict[str, Callable[[Surroundings], AbstractAsyncContextManager[ObjectStore]]] = {
    "memory": memory,
    "files": files,
    "s3": s3,
    "counting": counting,
    "gated": gated,
    "retrying over flaky": retrying_flaky,
}
