"""Retention: bodies older than a policy's window are pruned, never the newest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from services.core.clock import Clock
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_keys import SnapshotRef
from services.storage.object_store import ObjectStore

__all__ = ["Retention"]

_logger = logging.getLogger(__name__)
_PAGE: Final = 1000


class Retention:
    """Finds what is too old with one LIST from the cutoff and deletes it in batches."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def expired(self, namespace: Namespace, retention_ms: int) -> Sequence[SnapshotRef]:
        """Every snapshot that is past retention, newest first: a dry run. One LIST for each
        thousand of them, and one that finds the newest, which is never among them.

        Raises:
            StoreUnavailableError.
        """
        prefix = keys.history_prefix(namespace)
        cutoff_ms = self._clock.now_ns() // 1_000_000 - retention_ms
        start_after = prefix + keys.inverted(cutoff_ms)
        found: list[str] = []
        while True:
            page = await self._store.list(prefix, start_after=start_after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                break
            start_after = page[-1]
        if not found:
            return []
        newest = await self._store.list(prefix, limit=1)
        refs = (keys.parse_body_key(namespace, key) for key in found if key not in newest)
        return [ref for ref in refs if ref is not None]

    async def prune(self, namespace: Namespace, retention_ms: int) -> int:
        """Delete what `expired` answers; how many.

        Indexes go before bodies: after a crash in between, the listing that finds bodies still
        finds what is left to delete.

        Raises:
            StoreUnavailableError: some may be deleted; pruning again is safe.
        """
        refs = await self.expired(namespace, retention_ms)
        if not refs:
            return 0
        await self._store.delete([keys.activity_key(ref) for ref in refs])
        await self._store.delete([keys.sha_key(ref) for ref in refs])
        await self._store.delete([keys.body_key(ref) for ref in refs])
        _logger.info("snapshots pruned", extra={"namespace": namespace, "count": len(refs)})
        return len(refs)
