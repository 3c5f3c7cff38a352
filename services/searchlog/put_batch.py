"""A batch becomes an object: written once, under a free name, however often the store fails."""

from __future__ import annotations

import logging
import random
from typing import Final

from services.core.clock import Clock
from services.formats.trail_keys import ObjectName, object_key
from services.searchlog.batch import Batch
from services.searchlog.model import TrailCounts
from services.storage.object_store import ObjectStore

__all__ = ["PutBatch"]

_logger = logging.getLogger(__name__)
_FIRST_BACKOFF_SECONDS: Final = 0.2
_LONGEST_BACKOFF_SECONDS: Final = 15.0


class PutBatch:
    """Puts batches until they are in the store."""

    def __init__(
        self, store: ObjectStore, clock: Clock, rng: random.Random, counts: TrailCounts
    ) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._counts = counts

    async def __call__(self, batch: Batch) -> None:
        """Return once the batch is in the store; tries for as long as that takes."""
        name, body = batch.name(), batch.body()
        failures = 0
        while True:
            try:
                if await self._put(batch, name, body):
                    self._counts.objects += 1
                    return
            except Exception as error:  # noqa: BLE001 - no unforeseen failure may lose entries
                self._counts.put_failures += 1
                _logger.warning(
                    "cannot store the trail yet",
                    extra={"namespace": batch.stream.namespace, "cause": str(error)},
                )
                ceiling = min(_FIRST_BACKOFF_SECONDS * 2.0**failures, _LONGEST_BACKOFF_SECONDS)
                failures = min(failures + 1, 16)
                await self._clock.sleep(ceiling * self._rng.uniform(0.5, 1.0))
            else:
                # Another writer's object. A name may stand a little above its newest entry.
                self._counts.name_collisions += 1
                name = ObjectName(name.day, name.nanos + 1)

    async def _put(self, batch: Batch, name: ObjectName, body: bytes) -> bool:
        """False: the name is taken by something else."""
        key = object_key(batch.stream.kind, batch.stream.namespace, name)
        if await self._store.put(key, body, if_absent=True):
            return True
        # An earlier attempt of ours may have landed and only its answer was lost.
        return await self._store.get(key) == body
