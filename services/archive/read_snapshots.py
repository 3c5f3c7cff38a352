"""Finds snapshots at a constant number of requests, whatever the length of the history."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from typing import Final

from services.archive.mirror import NewestBodyMirror
from services.archive.write_snapshot import SnapshotWriter
from services.cache.cache import Cache
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_body import SnapshotBody, decode_body
from services.formats.snapshot_keys import SnapshotRef
from services.storage.object_store import ObjectStore

__all__ = ["SnapshotReader"]

_logger = logging.getLogger(__name__)

_PREFIX: Final = re.compile(r"[0-9a-f]{7,64}")
_PAGE: Final = 1000
_STORED_SEARCH_BODIES: Final = 200
"""Bodies that a search for a field reads at most, newest first."""
_PARALLEL_GETS: Final = 8
_LARGE_BYTES: Final = 128 * 1024


class SnapshotReader:
    """Reads bodies and their order from the object store, through the cache's mirror.

    Every method may raise `StoreUnavailableError`.
    """

    def __init__(self, store: ObjectStore, cache: Cache) -> None:
        self._store = store
        self._mirror = NewestBodyMirror(cache)
        self._writer = SnapshotWriter(store, cache)

    async def page(
        self, namespace: Namespace, *, limit: int, before: SnapshotRef | None = None
    ) -> Sequence[SnapshotRef]:
        """At most `limit` (1..1000) snapshots, newest first, older than `before`. One LIST."""
        start_after = keys.body_key(before) if before else ""
        found = await self._store.list(
            keys.history_prefix(namespace), start_after=start_after, limit=limit
        )
        refs = (keys.parse_body_key(namespace, key) for key in found)
        return [ref for ref in refs if ref is not None]

    async def newest(self, namespace: Namespace) -> SnapshotRef | None:
        """The newest snapshot of the history. One LIST of one key."""
        page = await self.page(namespace, limit=1)
        return page[0] if page else None

    async def resolve(self, namespace: Namespace, digits: str) -> SnapshotRef:
        """The snapshot that a sha, or 7 or more first digits of one, names; the newest of those
        with equal content. One LIST.

        Raises:
            LayerError: VALIDATION, malformed or ambiguous; NOT_FOUND.
        """
        if not _PREFIX.fullmatch(digits):
            raise LayerError.validation("a snapshot is named by 7 to 64 digits of 0-9 and a-f")
        found = await self._store.list(keys.sha_prefix(namespace, digits), limit=_PAGE)
        refs = [ref for key in found if (ref := keys.parse_sha_key(namespace, key))]
        if not refs:
            refs = await self._unindexed(namespace, digits)
        shas = {ref.sha for ref in refs}
        if len(shas) > 1:
            raise LayerError.validation(f"{digits!r} is ambiguous: give more digits")
        if not refs:
            raise LayerError.not_found(f"namespace {namespace!r} has no snapshot {digits!r}")
        return max(refs)

    async def body(self, ref: SnapshotRef) -> SnapshotBody | None:
        """A body: from the mirror, else one GET (two for a body counted with filters)."""
        key = keys.body_key(ref)
        data = await self._mirror.get(ref.namespace, key) or await self._store.get(key)
        if data is None:
            data = await self._store.get(keys.filtered_body_key(ref))
        return None if data is None else await _decoded(data)

    async def newest_body(self, namespace: Namespace) -> SnapshotBody | None:
        """The newest body of the history: one LIST of one key, and the mirror or one GET."""
        ref = await self.newest(namespace)
        if ref is None:
            return None
        key = keys.body_key(ref)
        data = await self._mirror.get(namespace, key)
        if data is None:
            data = await self._store.get(key)
            if data is not None:
                await self._mirror.put(ref, data)
        return None if data is None else await _decoded(data)

    async def newest_body_with(
        self, namespace: Namespace, fields: frozenset[str]
    ) -> SnapshotBody | None:
        """The newest body that answers for all those fields; None when none of the newest
        200 does. A one-field body of a manual job so never hides the others."""
        newest = await self.newest_body(namespace)
        if newest is None or fields <= newest.field_names():
            return newest
        async for body in self._bodies(namespace):
            if fields <= body.field_names():
                return body
        return None

    async def activity(
        self, *, since_ms: int, limit: int, after: str = "", namespace: Namespace | None = None
    ) -> Sequence[SnapshotRef]:
        """At most `limit` snapshots with a watermark of at least `since_ms`, newest first, behind
        the key `after`. One LIST."""
        prefix = keys.history_prefix(namespace) if namespace else keys.activity_prefix()
        found = await self._store.list(prefix, start_after=after, limit=limit)
        refs = (
            keys.parse_body_key(namespace, key) if namespace else keys.parse_activity_key(key)
            for key in found
        )
        return [ref for ref in refs if ref is not None and ref.watermark_ms >= since_ms]

    async def _bodies(self, namespace: Namespace) -> AsyncIterator[SnapshotBody]:
        refs = await self.page(namespace, limit=_STORED_SEARCH_BODIES)
        for start in range(0, len(refs), _PARALLEL_GETS):
            batch = refs[start : start + _PARALLEL_GETS]
            for body in await asyncio.gather(*(self.body(ref) for ref in batch)):
                if body is not None:
                    yield body

    async def _unindexed(self, namespace: Namespace, digits: str) -> list[SnapshotRef]:
        """Snapshots whose sha index is missing since a crash between the writes; repaired."""
        matching: list[SnapshotRef] = []
        start_after = ""
        while True:
            found = await self._store.list(
                keys.history_prefix(namespace), start_after=start_after, limit=_PAGE
            )
            refs = (keys.parse_body_key(namespace, key) for key in found)
            matching += [ref for ref in refs if ref is not None and ref.sha.startswith(digits)]
            if len(found) < _PAGE:
                break
            start_after = found[-1]
        for ref in matching:
            _logger.warning("repairing a snapshot's index", extra={"key": keys.body_key(ref)})
            await self._writer.index(ref)
        return matching


async def _decoded(data: bytes) -> SnapshotBody:
    """A stored body. A large one takes tens of milliseconds, which other calls should not wait
    for."""
    if len(data) < _LARGE_BYTES:
        return decode_body(data)
    return await asyncio.to_thread(decode_body, data)
