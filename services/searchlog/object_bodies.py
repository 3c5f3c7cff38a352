"""Bodies of trail objects, through the cache: an object never changes, so a copy is never stale."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from services.cache.cache import Cache, CacheUnavailableError
from services.storage.object_store import ObjectStore

__all__ = ["ObjectBodies"]

_CACHED_SECONDS: Final = 86_400.0
_MAX_CACHED_BYTES: Final = 1024**2


class ObjectBodies:
    """Reads several objects at once."""

    def __init__(self, store: ObjectStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The bodies; a key whose object has been deleted is absent.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        bodies = dict(await self._cached(keys))
        missing = [key for key in keys if key not in bodies]
        read = await asyncio.gather(*(self._store.get(key) for key in missing))
        found = {key: body for key, body in zip(missing, read, strict=True) if body is not None}
        await self._keep({k: body for k, body in found.items() if len(body) <= _MAX_CACHED_BYTES})
        return bodies | found

    async def _cached(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        try:
            return await self._cache.get_many(keys)
        except CacheUnavailableError:
            return {}

    async def _keep(self, bodies: Mapping[str, bytes]) -> None:
        if not bodies:
            return
        try:
            await self._cache.put_many(bodies, ttl_seconds=_CACHED_SECONDS)
        except CacheUnavailableError:
            return
