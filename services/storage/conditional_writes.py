"""Whether a store honours `put(if_absent)`: asked before anything depends on it.

Some servers that speak S3 ignore `If-None-Match` and overwrite (Garage 2; Ceph 16 in a bucket with
versioning). Nothing would fail there: of two writers with one name the first one's entries would be
gone, and locks and leases would be had by everyone.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from services.core.clock import Clock
from services.core.tasks import running
from services.storage.object_store import ObjectStore, StoreRefusedError, StoreUnavailableError
from services.storage.retrying import RetryPolicy

__all__ = ["CHECK_KEY", "UnconditionalStoreError", "conditions_checked"]

_logger = logging.getLogger(__name__)

CHECK_KEY: Final = "conditional-writes-check"
_BODY: Final = b"Written to learn whether this store leaves an existing object as it is.\n"
_PACE: Final = RetryPolicy(first_delay_seconds=1.0, max_delay_seconds=60.0)


class UnconditionalStoreError(StoreRefusedError):
    """The store overwrites what a conditional write must leave as it is."""

    def __init__(self) -> None:
        super().__init__(
            "the object store ignores conditional writes (If-None-Match: *): it would overwrite "
            "what another process wrote; use a server that honours them (some do so only in a "
            "bucket without versioning)"
        )


@asynccontextmanager
async def conditions_checked(
    store: ObjectStore, clock: Clock, rng: random.Random, *, wait_seconds: float = 3.0
) -> AsyncIterator[None]:
    """Ask the store; a store that is away is asked until it answers, and the context opens
    meanwhile, since its owner may have work that does not need it.

    Args:
        store: one that does not retry. After an answer that was lost, a repeated put that met its
            own object would count as a success.
        wait_seconds: how long the context waits to open for an answer.

    Raises:
        UnconditionalStoreError: also later, as long as the context is open.
    """
    answered = asyncio.Event()
    try:
        async with running(_ask(store, clock, rng, answered)):
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await answered.wait()
            yield
    except ExceptionGroup as group:
        if group.subgroup(UnconditionalStoreError):
            raise UnconditionalStoreError from None
        # What the owner raised itself: a task group wraps that too, and callers look for its type.
        error = group.exceptions[0]
        raise error from error.__cause__


async def _ask(
    store: ObjectStore, clock: Clock, rng: random.Random, answered: asyncio.Event
) -> None:
    failures = 0
    while True:
        try:
            honoured = await _honours_conditions(store)
        except StoreUnavailableError as error:
            failures += 1
            # With what the server said, which callers are not told: bucket, endpoint, region.
            _logger.warning(
                "object store cannot be used yet",
                extra={"cause": error.message, "detail": str(error.__cause__ or "")},
            )
            await clock.sleep(_PACE.delay_seconds(min(failures, 16), rng))
            continue
        if not honoured:
            raise UnconditionalStoreError
        if failures:
            _logger.info("object store can be used")
        answered.set()
        return


async def _honours_conditions(store: ObjectStore) -> bool:
    """One request where it was asked before, else two."""
    for _ in range(2):
        if not await store.put(CHECK_KEY, _BODY, if_absent=True):
            return True
    return False
