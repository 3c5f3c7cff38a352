"""A lease per namespace in the object store, so that one replica of many counts it.

A lease is a row of immutable objects, `snapshot-leases/{ns}/{generation}`; the highest generation
is the lease. Taking, renewing and giving back each create the next generation with
`put(if_absent)`, so of several replicas one wins. Old generations are deleted, the highest never.
So a replica that was paused can still create a generation that others have created *and deleted*
meanwhile; after each creation it looks for a higher one, finds it, and knows that it lost.

Time: a holder trusts its lease for the term on its own monotonic clock, from before the write.
Others take over when their wall clock is past the written expiry plus `skew_seconds`. That the
replicas' wall clocks differ by less is an assumption (NTP keeps it by orders of magnitude); where
it fails, the check right before a result is written still finds the higher generation. What no
check can exclude is a pause between that check and the write itself: object stores cannot fence.
Then the history holds one snapshot more, which is true as of its watermark.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from services.core.clock import Clock
from services.core.ids import IdGenerator, Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_lease import LeaseRecord, ScanState, decode_lease, encode_lease
from services.storage.object_store import ObjectStore, StoreUnavailableError

__all__ = ["LONGEST_TERM_SECONDS", "HeldLease", "LeaseTerms", "LeaseView", "Leases"]

_logger = logging.getLogger(__name__)

LONGEST_TERM_SECONDS: Final = 600.0
_PAGE: Final = 1000
_READS: Final = 3
"""Tries to read the highest generation before it is replaced by the next."""
_NOBODY: Final = LeaseRecord(holder="", expires_at_ms=0)


@dataclass(frozen=True)
class LeaseTerms:
    """How long a lease is good for (at most `LONGEST_TERM_SECONDS`), and by how much replicas'
    wall clocks may differ."""

    term_seconds: float = 30.0
    skew_seconds: float = 5.0


@dataclass(frozen=True)
class LeaseView:
    """A lease as it was read."""

    namespace: Namespace
    generations: Sequence[int]
    """All that are stored, ascending; empty when there was never a lease."""
    record: LeaseRecord
    """The highest one's."""

    @property
    def generation(self) -> int:
        """The fencing token; 0 when there was never a lease."""
        return self.generations[-1] if self.generations else 0


class Leases:
    """Reads and takes the leases of all namespaces."""

    def __init__(
        self,
        store: ObjectStore,
        clock: Clock,
        *,
        replica: str,
        new_id: IdGenerator,
        terms: LeaseTerms,
    ) -> None:
        self._store = store
        self._clock = clock
        self._replica = replica
        self._new_id = new_id
        self._terms = terms

    async def read(self, namespace: Namespace) -> LeaseView | None:
        """The lease now: one LIST and one GET. None while others replace it faster than it can
        be read.

        Raises:
            StoreUnavailableError.
        """
        for _ in range(_READS):
            generations = await self._generations(namespace)
            if not generations:
                return LeaseView(namespace, (), _NOBODY)
            key = keys.lease_key(namespace, generations[-1])
            data = await self._store.get(key)
            if data is None:
                continue
            record = decode_lease(data)
            if record is None:
                # A second scan is the worst that can come of it; a namespace that is
                # never counted again would be worse.
                _logger.warning("unreadable lease taken as free", extra={"key": key})
            return LeaseView(namespace, generations, record or _NOBODY)
        return None

    async def take(self, view: LeaseView) -> HeldLease | None:
        """The lease, if it is free and nobody else is faster. Keeps the state that was read.

        Raises:
            StoreUnavailableError: it may have been taken by us, and is then free after its term.
        """
        if self._is_in_force(view.record):
            return None
        holder = f"{self._replica}/{self._new_id()}"
        lease = HeldLease(self._store, self._clock, self._terms, view, holder)
        return lease if await lease.renew() else None

    def _is_in_force(self, record: LeaseRecord) -> bool:
        left_seconds = record.expires_at_ms / 1000 - self._clock.now_ns() / 1e9
        skew_seconds = self._terms.skew_seconds
        # One that is good for longer than any term was written by a clock that is wrong by far:
        # waiting for it could take days, and two replicas that count do no harm.
        return -skew_seconds <= left_seconds <= LONGEST_TERM_SECONDS + skew_seconds

    async def _generations(self, namespace: Namespace) -> Sequence[int]:
        found: list[int] = []
        start_after = ""
        while True:
            page = await self._store.list(
                keys.lease_prefix(namespace), start_after=start_after, limit=_PAGE
            )
            parsed = (keys.parse_lease_key(namespace, key) for key in page)
            found += [generation for generation in parsed if generation is not None]
            if len(page) < _PAGE:
                return found
            start_after = page[-1]


class HeldLease:
    """A lease that was taken. Work while it is `kept`, `confirm` it right before the result is
    written, and give it back."""

    def __init__(
        self, store: ObjectStore, clock: Clock, terms: LeaseTerms, view: LeaseView, holder: str
    ) -> None:
        self._store = store
        self._clock = clock
        self._terms = terms
        self._namespace = view.namespace
        self._old = list(view.generations)
        self._generation = view.generation
        self._state = view.record.state
        self._holder = holder
        self._good_until = 0.0
        self._lost = False
        self._lock = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    @property
    def generation(self) -> int:
        """The fencing token: each holder's is greater than those before."""
        return self._generation

    async def renew(self) -> bool:
        """A new term from now; False when another replica has the lease.

        Raises:
            StoreUnavailableError: the old term still runs.
        """
        async with self._lock:
            return await self._renew()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew every third of the term while the context is open."""
        renewing = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def confirm(self) -> bool:
        """Whether the lease is ours, with at least a third of the term to go: one LIST, and a
        renewal when it is late. A late holder whom nobody has replaced still holds.

        Raises:
            StoreUnavailableError: nobody knows.
        """
        async with self._lock:
            fresh = self._clock.monotonic() < self._good_until - self._terms.term_seconds / 3
            return (fresh and await self._is_highest()) or await self._renew()

    async def give_back(self, state: ScanState | None = None) -> None:
        """End the term, leaving a state for the next holder; without one, what it was before.

        Raises:
            StoreUnavailableError: the lease is free after its term; the state may be lost.
        """
        async with self._lock:
            if self._lost:
                return
            if await self._create(LeaseRecord(self._holder, 0, state or self._state)):
                await self._delete_old()
            self._lost = True

    async def _keep(self) -> None:
        while not self._lost:
            await self._clock.sleep(self._terms.term_seconds / 3)
            # Not to be cut off between a write and what it tells us.
            self._renewal = asyncio.create_task(self._renew_or_warn())
            await asyncio.shield(self._renewal)

    async def _renew_or_warn(self) -> None:
        try:
            await self.renew()
        except StoreUnavailableError as error:
            _logger.warning(
                "lease not renewed", extra={"namespace": self._namespace, "cause": error.message}
            )

    async def _renew(self) -> bool:
        if self._lost:
            return False
        good_until = self._clock.monotonic() + self._terms.term_seconds
        expires_at_ms = self._clock.now_ns() // 1_000_000 + round(self._terms.term_seconds * 1000)
        record = LeaseRecord(self._holder, expires_at_ms, self._state)
        if await self._create(record) and await self._is_highest():
            self._good_until = good_until
            await self._delete_old()
            return True
        self._lost = True
        return False

    async def _create(self, record: LeaseRecord) -> bool:
        """The next generation, if nobody else has created it."""
        body = encode_lease(record)
        while True:
            generation = self._generation + 1
            key = keys.lease_key(self._namespace, generation)
            written = await self._store.put(key, body, if_absent=True)
            if not written and not await self._is_ours(key):
                return False
            self._old.append(generation)
            self._generation = generation
            if written:
                return True

    async def _is_ours(self, key: str) -> bool:
        """Whether an earlier try of ours created it and only the answer was lost."""
        data = await self._store.get(key)
        record = decode_lease(data) if data else None
        return record is not None and record.holder == self._holder

    async def _is_highest(self) -> bool:
        higher = await self._store.list(
            keys.lease_prefix(self._namespace),
            start_after=keys.lease_key(self._namespace, self._generation),
            limit=1,
        )
        return not higher

    async def _delete_old(self) -> None:
        """Best effort: the next holder deletes what is left."""
        old = [keys.lease_key(self._namespace, g) for g in self._old if g < self._generation]
        self._old = [self._generation]
        try:
            await self._store.delete(old)
        except StoreUnavailableError as error:
            _logger.info("old leases not deleted", extra={"cause": error.message})
