"""A world in which every step takes some time, drawn from a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.cache.cache import CacheUnavailableError
from services.core.ids import Namespace
from services.upstream.vector_store import UpstreamUnavailableError
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore

__all__ = ["Chance", "SlowCache", "SlowUpstream"]


@dataclass
class Chance:
    """Decides, from a seed, how long each step of anybody takes."""

    random: random.Random
    failing: bool = False

    async def pause(self, most: int = 6) -> None:
        for _ in range(self.random.randrange(most)):
            await asyncio.sleep(0)


class SlowCache:
    """A replica's link to the shared cache: calls take effect late, and may fail before or
    after they did, as a put does that times out."""

    def __init__(self, inner: MemoryCache, chance: Chance) -> None:
        self._inner = inner
        self._chance = chance
        self._late: set[asyncio.Task[int]] = set()

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        await self._chance.pause()
        self._fail()
        found = await self._inner.get_many(keys)
        await self._chance.pause()
        return found

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        if self._fails():
            if self._chance.random.random() < 0.5:
                # Given up by the caller, and carried out all the same, some time.
                late = asyncio.create_task(self._put(values, ttl_seconds, 30))
                self._late.add(late)
            raise CacheUnavailableError("took too long")
        return await self._put(values, ttl_seconds, 6)

    async def _put(self, values: Mapping[str, bytes], ttl: float | None, most: int) -> int:
        await self._chance.pause(most)
        kept = await self._inner.put_many(values, ttl_seconds=ttl)
        await self._chance.pause()
        return kept

    async def delete(self, keys: Sequence[str]) -> None:
        raise AssertionError("not used for documents")

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        raise AssertionError("not used for documents")

    async def members(self, group: str) -> Mapping[str, bytes]:
        raise AssertionError("not used for documents")

    async def close(self) -> None:
        await asyncio.gather(*self._late)

    def _fails(self) -> bool:
        return self._chance.failing and self._chance.random.random() < 0.3

    def _fail(self) -> None:
        if self._fails():
            raise CacheUnavailableError("down")


class SlowUpstream(TableVectorStore):
    """Answers with what is there at some moment between question and answer; or, with
    `outages`, not at all now and then."""

    def __init__(self, namespace: Namespace, rows: list[dict[str, Any]], chance: Chance) -> None:
        super().__init__(namespace, rows)
        self.outages = 0.0
        self._chance = chance

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        await self._chance.pause(12)
        if self._chance.random.random() < self.outages:
            raise UpstreamUnavailableError("away")
        answer = await super().query(namespace, request)
        await self._chance.pause(12)
        return answer
