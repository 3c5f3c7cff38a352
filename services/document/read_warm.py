"""Every document of a warm namespace, from the cache alone."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec

from services.cache.cache import Cache, CacheUnavailableError
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.document.cached_documents import batches, document_key
from services.document.generations import Generations
from services.document.warm_state import WarmState, decode_state, id_list_key, warm_key

__all__ = ["ReadWarm"]

_FIRST_DOCUMENTS: Final = 20
_MOST_DOCUMENTS: Final = 200
_READ_BYTES: Final = 1024 * 1024
"""What one read of the cache aims at; how large documents are it tells."""
_ids_decoder = msgspec.json.Decoder(list[str])


class ReadWarm:
    """Reads what a warm job left, and notices when any of it is gone."""

    def __init__(self, cache: Cache, generations: Generations) -> None:
        self._cache = cache
        self._generations = generations

    async def state(self, namespace: Namespace) -> WarmState:
        """What the namespace holds.

        Raises:
            LayerError: CACHE_COLD, it is not warm.
        """
        generation = (await self._generations.peek(namespace)).generation
        if generation is None:
            raise _cold(namespace)
        key = warm_key(namespace, generation)
        state = decode_state((await self._get(namespace, [key])).get(key))
        if state is None:
            raise _cold(namespace)
        return state

    async def pages(self, namespace: Namespace, state: WarmState) -> AsyncIterator[bytes]:
        """The documents in the order of ids, as answers of queries.

        Raises:
            LayerError: CACHE_COLD, one is gone.
        """
        limit = _FIRST_DOCUMENTS
        for part in state.parts:
            for number in range(part.id_lists):
                key = id_list_key(namespace, state.generation, part.job, number)
                waiting = deque(_ids_decoder.decode((await self._all(namespace, [key]))[key]))
                while waiting:
                    ids = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
                    keys = [document_key(namespace, state.generation, text) for text in ids]
                    found = await self._all(namespace, keys)
                    for batch in batches({key: found[key] for key in keys}):
                        yield b'{"rows":[' + b",".join(batch.values()) + b"]}"
                    size = sum(map(len, found.values()))
                    # Twice as many at most: documents that follow may be larger.
                    limit = max(1, min(_MOST_DOCUMENTS, 2 * limit, len(ids) * _READ_BYTES // size))

    async def _all(self, namespace: Namespace, keys: Sequence[str]) -> Mapping[str, bytes]:
        found = await self._get(namespace, keys)
        if len(found) < len(keys):
            raise _cold(namespace)
        return found

    async def _get(self, namespace: Namespace, keys: Sequence[str]) -> Mapping[str, bytes]:
        try:
            return await self._cache.get_many(keys)
        except CacheUnavailableError as error:
            raise _cold(namespace) from error


def _cold(namespace: Namespace) -> LayerError:
    return LayerError(
        ErrorKind.CACHE_COLD,
        f"the document cache of {namespace!r} is not warm; warm it, or use source origin",
    )
