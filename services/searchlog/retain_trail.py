"""Retention: days of the trails that are older than the window are dropped whole."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock
from services.core.errors import LayerError
from services.formats.trail_keys import DAY_NANOS, TrailKind, day_start
from services.searchlog.model import Stream, TrailCounts
from services.searchlog.object_names import list_days
from services.searchlog.walk_trail import key_pages, list_namespaces
from services.storage.object_store import ObjectStore

__all__ = ["Expired", "RetainTrail"]

_logger = logging.getLogger(__name__)
_EVERY_SECONDS: Final = 3_600.0
_MAX_OBJECTS: Final = 1_000_000
"""Of one run: a thousand deletes of a thousand keys. The next run goes on."""


@dataclass
class Expired:
    """What one run dropped, or would have."""

    days: int = 0
    """Of one namespace and kind each."""
    objects: int = 0
    complete: bool = True
    """False: there is more, for the next run."""


class RetainTrail:
    """Drops the UTC days whose last instant is out of the window.

    Deletes are idempotent and writers never write into a day so old but for entries that waited
    out a long outage: replicas may run it at the same time.
    """

    def __init__(
        self,
        store: ObjectStore,
        cache: Cache,
        clock: Clock,
        counts: TrailCounts,
        *,
        window_ms: int,
        max_objects: int = _MAX_OBJECTS,
    ) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock
        self._counts = counts
        self._window_ns = window_ms * 10**6
        self._max_objects = max_objects

    async def __call__(self, *, dry_run: bool = False) -> Expired:
        """Drop what is out of the window; with `dry_run` only count it.

        Raises:
            StoreUnavailableError: the store does not answer; what is dropped stays dropped.
        """
        done = Expired()
        horizon = self._clock.now_ns() - self._window_ns
        for kind in TrailKind:
            for namespace in await list_namespaces(self._store, kind):
                stream = Stream(kind, namespace)
                for day in reversed(await list_days(self._store, stream)):
                    if day_start(day) + DAY_NANOS > horizon:
                        break
                    await self._drop(stream, day, done, dry_run=dry_run)
                    if not done.complete:
                        return done
        return done

    async def run(self, rng: random.Random) -> None:
        """Drop once an hour for as long as the task runs; a failed run waits for the next.

        Args:
            rng: when in the hour: replicas need not do it at the same time.
        """
        await self._clock.sleep(_EVERY_SECONDS * rng.random())
        while True:
            try:
                done = await self()
            except LayerError as error:
                self._counts.retention_failures += 1
                _logger.warning("cannot drop old days yet", extra={"cause": error.message})
            else:
                if done.objects:
                    _logger.info(
                        "dropped old days", extra={"days": done.days, "objects": done.objects}
                    )
            await self._clock.sleep(_EVERY_SECONDS)

    async def _drop(self, stream: Stream, day: str, done: Expired, *, dry_run: bool) -> None:
        async for keys in key_pages(self._store, stream, f"{day}/"):
            allowed = keys[: self._max_objects - done.objects]
            if not dry_run:
                await self._delete(allowed)
            done.objects += len(allowed)
            if len(allowed) < len(keys):
                done.complete = False
                return
        done.days += 1
        if not dry_run:
            self._counts.expired_days += 1

    async def _delete(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        await self._store.delete(keys)
        self._counts.expired_objects += len(keys)
        try:
            await self._cache.delete(keys)
        except CacheUnavailableError:
            # No list names these keys any more, and copies expire within a day.
            return
