"""One job's way through a namespace: from the beginning, or from where another stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.document.cached_documents import batches, document_key
from services.document.generations import Generations
from services.document.last_write import LastWrite
from services.document.warm_limits import WarmLimits
from services.document.warm_pages import WarmPage, warm_pages
from services.document.warm_state import WarmPart, WarmState, id_list_key, warm_key, warming_key
from services.upstream.vector_store import UpstreamUnavailableError, VectorStore

__all__ = ["WarmRun", "WarmTools", "holds"]

_T = TypeVar("_T")

_RETRY_SECONDS: Final = (0.2, 1.0, 5.0)
"""The last is as long as a failing cache is left alone."""
_SAVE_SECONDS: Final = 1.0
"""So much is read again after a crash."""
_IDS_A_LIST: Final = 1000
"""At 64 bytes an id, and six for one that JSON escapes, always below the cache's record limit."""


@dataclass(frozen=True)
class WarmTools:
    """What every run works with."""

    upstream: VectorStore
    generations: Generations
    cache: Cache
    clock: Clock
    limits: WarmLimits

    async def patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Ask the cache, and again while it fails for a moment.

        Raises:
            CacheUnavailableError: it goes on failing.
        """
        for pause in _RETRY_SECONDS:
            try:
                return await call()
            except CacheUnavailableError:
                await self.clock.sleep(pause)
        return await call()

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return self.clock.now_ns() // 1_000_000


class WarmRun:
    """Reads what is behind a state, and moves the state on.

    Args:
        job: the name of its id lists; no other run has it.
        state: where to begin.
    """

    def __init__(self, tools: WarmTools, namespace: Namespace, job: str, state: WarmState) -> None:
        self._tools = tools
        self._namespace = namespace
        self._job = job
        self._state = state
        self._parts = state.parts
        self._id_lists = 0
        self._last_write = LastWrite.of(state)
        self._saved_at = tools.clock.monotonic()

    async def read(
        self, projection: Mapping[str, object], *, page_size: int, expected: int
    ) -> AsyncIterator[WarmState]:
        """Keep every page, and yield the state after it.

        Raises:
            LayerError: VALIDATION, a document does not fit, or there is not enough time;
                UNAVAILABLE, the namespace was written or the cache fails; UPSTREAM. What was read
                is saved for another job, whenever that can go on.
        """
        clock, limits = self._tools.clock, self._tools.limits
        started, before = clock.monotonic(), self._state.documents
        pages = warm_pages(
            self._tools.upstream,
            clock,
            self._namespace,
            projection,
            page_size=page_size,
            after=self._state.last_id,
        )
        try:
            async for page in pages:
                limits.check_time(self._state, self._tools.now_ms(), expected)
                await self._keep(page)
                await self._check_unwritten()
                if clock.monotonic() - self._saved_at >= _SAVE_SECONDS:
                    await self._tools.patiently(self._save)
                yield self._state
                read = self._state.documents - before
                await clock.sleep(started + read / limits.documents_per_second - clock.monotonic())
        except (UpstreamUnavailableError, CacheUnavailableError) as error:
            with suppress(CacheUnavailableError):
                await self._save()
            raise LayerError(
                error.kind, f"{error.message}; start the job again, to go on from here"
            ) from error

    async def finish(self, expected: int) -> WarmState:
        """Say that the namespace is warm.

        Raises:
            LayerError: VALIDATION, there was not enough time, or room in the cache; UNAVAILABLE,
                the namespace was written or the cache fails.
        """
        tools, state = self._tools, self._state
        if not await tools.patiently(partial(holds, tools.cache, self._namespace, state)):
            raise LayerError.validation(
                "the cache has let go of the first documents before the last was read: it is too "
                "small for the namespace (LAYER_CACHE_MEBIBYTES, where it is LMDB)"
            )
        key = warm_key(self._namespace, state.generation)
        await tools.patiently(partial(self._put_state, key))
        await self._check_unwritten()
        tools.limits.check_time(state, tools.now_ms(), expected)
        return state

    async def _keep(self, page: WarmPage) -> None:
        """Cache a page and its ids, and count it to the state."""
        namespace, generation = self._namespace, self._state.generation
        keyed = {document_key(namespace, generation, text): row for text, row in page.rows.items()}
        ids = list(page.rows)
        for start in range(0, len(ids), _IDS_A_LIST):
            key = id_list_key(namespace, generation, self._job, self._id_lists)
            keyed[key] = msgspec.json.encode(ids[start : start + _IDS_A_LIST])
            self._id_lists += 1
        for batch in batches(keyed):
            # Neither documents nor lists change within a generation: they may be put again.
            kept = await self._tools.patiently(partial(self._put, batch, page.asked_at))
            if kept < len(batch):
                raise LayerError.validation(
                    "a document is larger than the cache's records; the namespace cannot be warm"
                )
        now = self._tools.clock.monotonic()
        self._last_write.observe(page.written_at, asked_at=page.asked_at, now=now)
        self._state = msgspec.structs.replace(
            self._state,
            parts=(*self._parts, WarmPart(self._job, self._id_lists)),
            documents=self._state.documents + len(page.rows),
            last_id=page.last_id,
            written_at=self._last_write.written_at,
            is_settled=self._last_write.is_settled,
        )

    async def _put(self, batch: Mapping[str, bytes], asked_at: float) -> int:
        """For as long as documents may be served after they were read."""
        age = self._tools.clock.monotonic() - asked_at
        left = self._tools.limits.ttl_seconds - age
        if left <= 0:
            raise CacheUnavailableError("the cache took longer than documents are kept")
        return await self._tools.cache.put_many(batch, ttl_seconds=left)

    async def _check_unwritten(self) -> None:
        """What is saved or said afterwards was true at this moment."""

        async def peek() -> bool:
            state = await self._tools.generations.peek(self._namespace)
            if state.is_failing:
                raise CacheUnavailableError("the cache failed while the namespace was warmed")
            return state.generation == self._state.generation

        if not await self._tools.patiently(peek):
            raise LayerError(
                ErrorKind.UNAVAILABLE,
                "the namespace was, or may have been, written while it was warmed; start again",
            )

    async def _save(self) -> None:
        """Leave the state for a job that goes on, should this one not end."""
        if self._id_lists:
            await self._put_state(warming_key(self._namespace, self._state.generation))
        self._saved_at = self._tools.clock.monotonic()

    async def _put_state(self, key: str) -> None:
        left = self._state.left_seconds(self._tools.now_ms(), self._tools.limits.ttl_seconds)
        if left > 0:
            value = {key: msgspec.json.encode(self._state)}
            await self._tools.cache.put_many(value, ttl_seconds=left)


async def holds(cache: Cache, namespace: Namespace, state: WarmState) -> bool:
    """Whether what was cached first is still there; a cache that is too small loses it first.

    Raises:
        CacheUnavailableError.
    """
    if not state.parts:
        return True
    key = id_list_key(namespace, state.generation, state.parts[0].job, 0)
    ids = (await cache.get_many([key])).get(key)
    if ids is None:
        return False
    first = document_key(namespace, state.generation, msgspec.json.decode(ids, type=list[str])[0])
    return bool(await cache.get_many([first]))
