"""`POST /warm`: pages a namespace into the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.core.ids import IdGenerator, Namespace
from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.document.cached_documents import batches, document_key
from services.document.generations import Generations
from services.document.rows import last_id, rows_by_id
from services.document.schemas import Schemas
from services.document.warm_job import WarmJob, WarmRecord
from services.upstream.vector_store import UpstreamUnavailableError, VectorStore, decode_metadata

__all__ = ["WarmNamespace", "id_list_key", "warm_key"]

_RETRY_SECONDS: Final = (0.2, 1.0, 5.0)
"""The last is as long as a failing cache is left alone."""


class WarmNamespace:
    """Answers with a running job at once; the work goes on in a task of this process.

    A namespace is *warm* when every document of it was put into the cache in one generation. It
    stays so until it is written through the gateway, until the first of the documents expires,
    or until one is found to be gone.

    Args:
        documents_per_second: rate at which documents are read upstream, at most.
        margin_ms: between the start of the first read and the watermark.
    """

    def __init__(
        self,
        *,
        upstream: VectorStore,
        schemas: Schemas,
        generations: Generations,
        cache: Cache,
        jobs: JobBook[WarmJob],
        runner: JobRunner[WarmJob],
        clock: Clock,
        new_id: IdGenerator,
        ttl_seconds: float,
        documents_per_second: float,
        margin_ms: int,
    ) -> None:
        self._upstream = upstream
        self._schemas = schemas
        self._generations = generations
        self._cache = cache
        self._jobs = jobs
        self._runner = runner
        self._clock = clock
        self._new_id = new_id
        self._ttl_seconds = ttl_seconds
        self._documents_per_second = documents_per_second
        self._margin_ms = margin_ms

    async def __call__(self, namespace: Namespace, page_size: int) -> WarmJob:
        """Start a job, or answer the one that runs already.

        Raises:
            LayerError: TOO_MANY_REQUESTS.
        """
        for job in self._jobs.list(namespace):
            if job.is_running:
                return job
        job = WarmJob(self._new_id(), namespace, self._now_ms())
        self._runner.start(job, lambda: self._warm(job, page_size))
        return job

    async def _warm(self, job: WarmJob, page_size: int) -> WarmJob:
        namespace, started = job.namespace, self._clock.monotonic()
        stable_as_of_ms = self._now_ms() - self._margin_ms
        generation = await self._generation(namespace)
        metadata = decode_metadata(await self._upstream.metadata(namespace))
        expected = metadata.approx_row_count
        documents = id_lists = 0
        async for rows in self._pages(namespace, page_size):
            await self._keep(namespace, generation, id_lists, rows)
            documents += len(rows)
            id_lists += 1
            self._jobs.update(job.advanced(documents, expected))
            await self._check_unwritten(namespace, generation)
            due = started + documents / self._documents_per_second
            await self._clock.sleep(due - self._clock.monotonic())
        types = {name: metadata.attribute_type(name) or "" for name in metadata.schema}
        record = WarmRecord(generation, id_lists, documents, stable_as_of_ms, types)
        await self._put_record(namespace, record, started)
        current = self._jobs.get(namespace, job.id)
        return current.advanced(documents, expected).completed(self._now_ms(), stable_as_of_ms)

    async def _generation(self, namespace: Namespace) -> str:
        state = await self._generations.current(namespace)
        if state.generation is None:
            raise LayerError(
                ErrorKind.UNAVAILABLE,
                "the cache is down, not configured, or a write is going on; try again",
            )
        return state.generation

    async def _check_unwritten(self, namespace: Namespace, generation: str) -> None:
        if (await self._generations.current(namespace)).generation != generation:
            raise LayerError(
                ErrorKind.UNAVAILABLE,
                "the namespace was written, or the cache failed, while it was warmed; start again",
            )

    async def _pages(
        self, namespace: Namespace, page_size: int
    ) -> AsyncIterator[Mapping[str, bytes]]:
        """Every document, in the order of ids."""
        behind: Mapping[str, object] = {}
        last: str | int | None = None
        projection = (await self._schemas.get(namespace, max_age_seconds=0)).projection(None)
        while True:
            query = {"rank_by": ["id", "asc"], "top_k": page_size, **projection, **behind}
            rows = rows_by_id(await self._upstream.query(namespace, query))
            if rows:
                yield rows
            if len(rows) < page_size:
                return
            before, last = last, last_id(rows)
            if last == before:
                raise UpstreamUnavailableError("the upstream's pages do not advance")
            behind = {"filters": ["id", "Gt", last]}

    async def _keep(
        self, namespace: Namespace, generation: str, number: int, rows: Mapping[str, bytes]
    ) -> None:
        keyed = {document_key(namespace, generation, text): row for text, row in rows.items()}
        keyed[id_list_key(namespace, generation, number)] = msgspec.json.encode(list(rows))
        for batch in batches(keyed):
            if await self._put(batch, self._ttl_seconds) < len(batch):
                raise LayerError.validation(
                    "a document is larger than the cache's records; the namespace cannot be warm"
                )

    async def _put_record(self, namespace: Namespace, record: WarmRecord, started: float) -> None:
        left = self._ttl_seconds - (self._clock.monotonic() - started)
        if left <= 0:
            raise LayerError.validation(
                "warming took longer than documents are kept; raise LAYER_DOCUMENT_TTL_SECONDS"
            )
        await self._put({warm_key(namespace): msgspec.json.encode(record)}, left)
        await self._check_unwritten(namespace, record.generation)

    async def _put(self, batch: Mapping[str, bytes], ttl_seconds: float) -> int:
        """Documents never change within a generation, so a put may be tried again."""
        for pause in _RETRY_SECONDS:
            try:
                return await self._cache.put_many(batch, ttl_seconds=ttl_seconds)
            except CacheUnavailableError:
                await self._clock.sleep(pause)
        return await self._cache.put_many(batch, ttl_seconds=ttl_seconds)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000


def warm_key(namespace: Namespace) -> str:
    """Where a namespace's `WarmRecord` is."""
    return f"document-warm/{namespace}"


def id_list_key(namespace: Namespace, generation: str, number: int) -> str:
    """Where one list of the ids of warm documents is, from 0."""
    return f"document-ids/{namespace}/{generation}/{number}"
