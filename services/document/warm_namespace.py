"""`POST /warm`: pages a namespace into the cache."""

from __future__ import annotations

from functools import partial
from typing import Final

from services.core.errors import ErrorKind, LayerError
from services.core.ids import IdGenerator, Namespace
from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.document.schemas import Schemas
from services.document.warm_job import WarmJob
from services.document.warm_run import WarmRun, WarmTools, holds
from services.document.warm_state import WarmState, decode_state, warm_key, warming_key
from services.upstream.vector_store import decode_metadata

__all__ = ["WarmNamespace"]

_PARTS: Final = 100
"""Jobs that may have gone on from one another; the next begins anew."""


class WarmNamespace:
    """Answers with a running job at once; the work goes on in a task of this process.

    A namespace is *warm* when every document of it was put into the cache in one generation. It
    stays so until it is written through the gateway, until the first of the documents expires,
    or until one is found to be gone.

    A job goes on where an earlier one stopped, of this process or another, as long as the
    generation is the same: nothing was written, and that is certain (`generations`). The
    watermark, and the time at which the first document expires, are then the earlier job's.
    """

    def __init__(
        self,
        *,
        tools: WarmTools,
        schemas: Schemas,
        jobs: JobBook[WarmJob],
        runner: JobRunner[WarmJob],
        new_id: IdGenerator,
    ) -> None:
        self._tools = tools
        self._schemas = schemas
        self._jobs = jobs
        self._runner = runner
        self._new_id = new_id

    async def __call__(self, namespace: Namespace, page_size: int) -> WarmJob:
        """Start a job, or answer the one that runs already.

        Raises:
            LayerError: TOO_MANY_REQUESTS.
        """
        for job in self._jobs.list(namespace):
            if job.is_running:
                return job
        job = WarmJob(self._new_id(), namespace, self._tools.now_ms())
        self._runner.start(job, lambda: self._warm(job, page_size))
        return job

    async def _warm(self, job: WarmJob, page_size: int) -> WarmJob:
        namespace = job.namespace
        # First of all: without the upstream nobody can say that nothing was written, and what
        # was read so far would be given up.
        metadata = decode_metadata(await self._tools.upstream.metadata(namespace))
        expected = metadata.approx_row_count
        self._tools.limits.check_size(expected)
        generation = await self._generation(namespace)
        # Now that the generation was seen, like the documents.
        schema = await self._schemas.get(namespace, max_age_seconds=0)
        fresh = self._fresh(generation, dict(schema.types), metadata.updated_at)
        state = await self._begin(namespace, fresh, expected)
        job = job.going_on(state.documents)
        self._jobs.update(job)
        run = WarmRun(self._tools, namespace, job.id, state)
        async for state in run.read(
            schema.projection(None), page_size=page_size, expected=expected
        ):
            job = job.advanced(state.documents, expected)
            self._jobs.update(job)
        state = await run.finish(expected)
        return job.completed(self._tools.now_ms(), state.stable_as_of_ms)

    async def _generation(self, namespace: Namespace) -> str:
        state = await self._tools.generations.current(namespace)
        if state.generation is None:
            raise LayerError(
                ErrorKind.UNAVAILABLE,
                "the cache is down, not configured, or a write is going on; try again",
            )
        return state.generation

    def _fresh(self, generation: str, types: dict[str, str], updated_at: str) -> WarmState:
        """The state of a job that begins now."""
        now_ms = self._tools.now_ms()
        stable_as_of_ms = now_ms - self._tools.limits.margin_ms
        return WarmState(generation, (), 0, None, now_ms, stable_as_of_ms, types, updated_at)

    async def _begin(self, namespace: Namespace, fresh: WarmState, expected: int) -> WarmState:
        """The state that an earlier job left, if it is worth going on from; else a fresh one."""
        tools, generation = self._tools, fresh.generation
        keys = [warming_key(namespace, generation), warm_key(namespace, generation)]
        found = await tools.patiently(partial(tools.cache.get_many, keys))
        earlier, ended = (decode_state(found.get(key)) for key in keys)
        if (
            earlier is not None
            # Otherwise it is that job's, which has ended, and this one is to begin a new term.
            and (ended is None or ended.began_ms < earlier.began_ms)
            and earlier.types == fresh.types
            and len(earlier.parts) < _PARTS
            and tools.limits.can_finish(earlier, fresh.began_ms, expected)
            and await tools.patiently(partial(holds, tools.cache, namespace, earlier))
        ):
            return earlier
        return fresh
