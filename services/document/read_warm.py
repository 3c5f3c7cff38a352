"""Every document of a warm namespace, from the cache alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec

from services.cache.cache import Cache, CacheUnavailableError
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.document.cached_documents import batches, document_key
from services.document.generations import Generations
from services.document.warm_job import WarmRecord
from services.document.warm_namespace import id_list_key, warm_key

__all__ = ["ReadWarm"]

_DOCUMENTS_PER_READ: Final = 200
_ids_decoder = msgspec.json.Decoder(list[str])
_record_decoder = msgspec.json.Decoder(WarmRecord)


class ReadWarm:
    """Reads what a warm job left, and notices when any of it is gone."""

    def __init__(self, cache: Cache, generations: Generations) -> None:
        self._cache = cache
        self._generations = generations

    async def record(self, namespace: Namespace) -> WarmRecord:
        """What the namespace holds.

        Raises:
            LayerError: CACHE_COLD, it is not warm.
        """
        generation = await self._generations.peek(namespace)
        stored = (await self._get(namespace, [warm_key(namespace)])).get(warm_key(namespace))
        record = None if stored is None else _record_decoder.decode(stored)
        if record is None or record.generation != generation:
            raise _cold(namespace)
        return record

    async def pages(self, namespace: Namespace, record: WarmRecord) -> AsyncIterator[bytes]:
        """The documents in the order of ids, as answers of queries.

        Raises:
            LayerError: CACHE_COLD, one is gone.
        """
        for number in range(record.id_lists):
            key = id_list_key(namespace, record.generation, number)
            ids = _ids_decoder.decode((await self._all(namespace, [key]))[key])
            for start in range(0, len(ids), _DOCUMENTS_PER_READ):
                keys = [
                    document_key(namespace, record.generation, text)
                    for text in ids[start : start + _DOCUMENTS_PER_READ]
                ]
                found = await self._all(namespace, keys)
                for batch in batches({key: found[key] for key in keys}):
                    yield b'{"rows":[' + b",".join(batch.values()) + b"]}"

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
