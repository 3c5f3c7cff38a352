"""The cache's copy of a namespace's newest body.

It is keyed by the body's own key: it can be stale, never wrong.
"""

from __future__ import annotations

import logging

from services.cache.cache import Cache, CacheUnavailableError
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_keys import SnapshotRef

__all__ = ["NewestBodyMirror"]

_logger = logging.getLogger(__name__)


class NewestBodyMirror:
    """Keeps and finds the copy; a cache that fails is a copy that is not there."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def put(self, ref: SnapshotRef, data: bytes) -> None:
        """Mirror an encoded body, as a record of its key, a newline and the body."""
        record = keys.body_key(ref).encode() + b"\n" + data
        try:
            await self._cache.put_many({keys.latest_cache_key(ref.namespace): record})
        except CacheUnavailableError as error:
            _logger.info("snapshot not mirrored", extra={"cause": error.message})

    async def get(self, namespace: Namespace, body_key: str) -> bytes | None:
        """The copy, if it is of that very body."""
        name = keys.latest_cache_key(namespace)
        try:
            record = (await self._cache.get_many([name])).get(name)
        except CacheUnavailableError:
            return None
        key, _, data = (record or b"").partition(b"\n")
        return data if key == body_key.encode() else None
