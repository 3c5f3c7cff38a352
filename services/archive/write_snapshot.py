"""Makes a snapshot durable and findable."""

from __future__ import annotations

from services.archive.mirror import NewestBodyMirror
from services.cache.cache import Cache
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_body import SnapshotBody, encode_body
from services.formats.snapshot_keys import SnapshotRef
from services.storage.object_store import ObjectStore

__all__ = ["SnapshotWriter", "ref_of"]


def ref_of(body: SnapshotBody) -> SnapshotRef:
    """The reference that a body's keys are made of."""
    return SnapshotRef(Namespace(body.namespace), body.watermark_ms, body.sha)


class SnapshotWriter:
    """Writes bodies. One PUT makes a snapshot durable; two empty objects make it findable.

    The order is body, sha index, activity, each only if absent, so that replicas may race. A crash
    in between leaves a body that history shows; readers repair what is missing.
    """

    def __init__(self, store: ObjectStore, cache: Cache) -> None:
        self._store = store
        self._mirror = NewestBodyMirror(cache)

    async def write(self, body: SnapshotBody) -> None:
        """Add a body to the history and mirror it as the newest.

        Raises:
            StoreUnavailableError: it may or may not have been written; writing again is safe.
        """
        ref = ref_of(body)
        data = encode_body(body)
        await self._store.put(keys.body_key(ref), data, if_absent=True)
        await self.index(ref)
        await self._mirror.put(ref, data)

    async def write_filtered(self, body: SnapshotBody) -> None:
        """Keep a body that was counted with filters: by sha only, never in the history."""
        ref = ref_of(body)
        await self._store.put(keys.filtered_body_key(ref), encode_body(body), if_absent=True)
        await self._store.put(keys.sha_key(ref), b"", if_absent=True)

    async def index(self, ref: SnapshotRef) -> None:
        """Write the two index objects of a body that is in the history."""
        await self._store.put(keys.sha_key(ref), b"", if_absent=True)
        await self._store.put(keys.activity_key(ref), b"", if_absent=True)
