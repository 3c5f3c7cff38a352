"""The object store, the cache and the upstream that the settings name."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from opentelemetry.metrics import Meter
from pydantic import Field

from services.cache.aerospike_cache import AerospikeCache, AerospikeSettings
from services.cache.best_effort import BestEffortCache
from services.cache.cache import Cache
from services.cache.guarded import GuardedCache
from services.cache.lmdb_cache import LmdbCache
from services.cache.no_cache import NoCache
from services.core.clock import Clock
from services.edge.settings import ServerSettings, load_settings
from services.storage.conditional_writes import conditions_checked
from services.storage.counting import CountingObjectStore
from services.storage.files import FileObjectStore
from services.storage.object_store import ObjectStore
from services.storage.retrying import RetryingObjectStore
from services.storage.s3 import S3ObjectStore, S3Settings
from services.telemetry.counts import observe_counts
from services.upstream.turbopuffer_store import TurbopufferSettings, TurbopufferVectorStore
from services.upstream.vector_store import VectorStore

__all__ = [
    "StoreSettings",
    "open_cache",
    "open_guarded_cache",
    "open_object_store",
    "open_upstream",
]

_MEBIBYTE: Final = 1024 * 1024


class StoreSettings(ServerSettings):
    """Where a service keeps and caches."""

    object_store: str = Field(
        # (`?` and `#` would end the path of a URL.)
        pattern=r"^(file:///.+|s3://[a-z0-9][a-z0-9.-]+(/[^?#]*)?)$",
        description="`s3://bucket/prefix`, or `file:///folder` on one machine.",
    )
    s3_endpoint_url: str | None = Field(
        None, description="Another S3 than Amazon's, such as `http://127.0.0.1:9000`."
    )
    s3_region: str | None = Field(None, description="The bucket's region.")
    s3_addressing: Literal["path", "virtual"] | None = Field(
        None,
        description="The bucket as part of the `path` or, `virtual`, of the host name; unset: path "
        "with an endpoint URL, else as the AWS chain says.",
    )
    cache: str = Field(
        "none",
        pattern=r"^(none|lmdb:///.+|aerospike://[^/]+/[A-Za-z0-9_-]+)$",
        description="`aerospike://host:port,host:port/namespace`, `lmdb:///folder` on one "
        "machine, or `none`.",
    )
    cache_mebibytes: int = Field(
        1024, ge=64, description="Size of an LMDB cache; the same for all that share it."
    )


@asynccontextmanager
async def open_object_store(
    settings: StoreSettings, clock: Clock, meter: Meter | None = None, *, checked: bool = False
) -> AsyncIterator[ObjectStore]:
    """The object store, with retries. The meter counts requests, repeated ones too.

    Args:
        checked: for those whose writes rely on conditions.

    Raises:
        UnconditionalStoreError: a checked store does not honour them.
    """
    parts = urlsplit(settings.object_store)
    raw: FileObjectStore | S3ObjectStore
    if parts.scheme == "file":
        raw = FileObjectStore(Path(parts.path))
    else:
        raw = S3ObjectStore(
            S3Settings(
                bucket=parts.netloc,
                endpoint_url=settings.s3_endpoint_url,
                region=settings.s3_region,
                addressing=settings.s3_addressing,
                prefix=parts.path.strip("/"),
            )
        )
    async with raw:
        counting = CountingObjectStore(raw)
        if meter is not None:
            observe_counts(meter, object_store=counting.counts)
        rng = random.Random()  # noqa: S311 - jitter, not a secret
        retrying = RetryingObjectStore(counting, clock=clock, rng=rng)
        if checked and isinstance(raw, S3ObjectStore):
            async with conditions_checked(counting, clock, rng):
                yield retrying
        else:
            yield retrying


@asynccontextmanager
async def open_cache(
    settings: StoreSettings, clock: Clock, meter: Meter | None = None
) -> AsyncIterator[Cache]:
    """The cache, whose failures are misses."""
    async with open_guarded_cache(settings, clock, meter) as cache:
        yield BestEffortCache(cache)


@asynccontextmanager
async def open_guarded_cache(
    settings: StoreSettings, clock: Clock, meter: Meter | None = None
) -> AsyncIterator[GuardedCache]:
    """The cache for those who have to know of its failures, which come soon."""
    parts = urlsplit(settings.cache)
    if not parts.scheme:
        yield GuardedCache(NoCache(), clock=clock)
        return
    raw: LmdbCache | AerospikeCache
    if parts.scheme == "lmdb":
        size = settings.cache_mebibytes * _MEBIBYTE
        raw = LmdbCache(Path(parts.path), map_size_bytes=size, clock=clock)
    else:
        aerospike = AerospikeSettings(hosts=parts.netloc, namespace=parts.path.strip("/"))
        raw = AerospikeCache(aerospike, clock=clock)
    async with raw:
        guarded = GuardedCache(raw, clock=clock)
        if meter is not None:
            observe_counts(meter, cache=guarded.counts)
        yield guarded


def open_upstream() -> AbstractAsyncContextManager[VectorStore]:
    """Turbopuffer, or whatever speaks like it under `TURBOPUFFER_BASE_URL`."""
    return TurbopufferVectorStore.open(load_settings(TurbopufferSettings))
