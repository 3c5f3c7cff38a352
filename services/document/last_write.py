"""What the upstream says of writes that nobody told of.

Every query's answer names the last write that it observed, and a strong query observes every write
that was completed before it. While that name stays the same, nothing has been written: also
while no DocumentService was there to hear of it. The names are times, and how fine is not
documented; they are taken to differ for writes that are `SETTLED_SECONDS` apart. A change of the
schema, which may drop attributes, is no write in this sense, and shows in the metadata.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from services.cache.cache import Cache
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.document.rows import read_rows
from services.document.warm_state import WarmState, decode_state, warm_key, warming_key
from services.upstream.vector_store import VectorStore, decode_metadata

__all__ = ["SETTLED_SECONDS", "LastWrite", "UpstreamWitness"]

SETTLED_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 2.0
"""A witness that takes longer has seen nothing; fetches wait for it."""


@dataclass
class LastWrite:
    """The last write that every page of a namespace observed.

    Args:
        written_at: its time; None when pages differ or do not say, for good.
        is_settled: it was still the last one long after it was first seen, so that any later write
            has another time.
    """

    written_at: str | None = None
    is_settled: bool = False
    _pages: int = 0
    _seen_at: float | None = None

    @classmethod
    def of(cls, state: WarmState) -> LastWrite:
        """What the pages of a state observed, to go on from."""
        return cls(state.written_at, state.is_settled, _pages=len(state.parts))

    def observe(self, written_at: str | None, *, asked_at: float, now: float) -> None:
        """Take in the next page's.

        Args:
            asked_at, now: monotonic seconds at which it was asked for, and was there.
        """
        if self._pages == 0:
            self.written_at = written_at
        self._pages += 1
        if written_at is None or written_at != self.written_at:
            self.written_at, self.is_settled = None, False
        elif self._seen_at is None:
            self._seen_at = now
        elif asked_at - self._seen_at >= SETTLED_SECONDS:
            self.is_settled = True


class UpstreamWitness:
    """Whether a namespace was written since a job that warmed it saved its state last."""

    def __init__(self, upstream: VectorStore, cache: Cache) -> None:
        self._upstream = upstream
        self._cache = cache

    async def __call__(self, namespace: Namespace, generation: str) -> bool:
        """Whether it is certain that it was not: `generations.Vouch`. Never fails."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._is_unwritten(namespace, generation)
        except (TimeoutError, LayerError):
            return False

    async def _is_unwritten(self, namespace: Namespace, generation: str) -> bool:
        keys = [warm_key(namespace, generation), warming_key(namespace, generation)]
        found = await self._cache.get_many(keys)
        states = [decode_state(found.get(key)) for key in keys]
        noted = {
            (state.written_at, state.updated_at)
            for state in states
            if state is not None and state.is_settled and state.updated_at
        }
        if not noted:
            return False
        query = {"rank_by": ["id", "asc"], "top_k": 1, "include_attributes": []}
        rows = read_rows(await self._upstream.query(namespace, query))
        metadata = decode_metadata(await self._upstream.metadata(namespace))
        return (rows.written_at, metadata.updated_at) in noted
