"""Which documents in the cache may be served: those of the namespace's current generation.

A generation is a token under one key per namespace in the shared cache, and part of the keys of
documents. A new token makes every older document unreachable at once, whoever cached it. What
makes this safe, without a lock, is an order that everyone keeps:

1. A token is unique and is stored by one put that is never repeated, so it stays away once it is
   gone.
2. A document is cached under a token only if it was read upstream *after* that token was seen in
   the cache (or its put was acknowledged).
3. A write is answered to its caller after a new token was acknowledged (`end_write`).

A reader that starts after the answer thus finds a token that came after the write, and under it
only documents that were read after the write: a slow backfill cannot bring an old one back.

Before a write is forwarded, `begin_write` stores a token that is *closed* for a while: nothing is
served from the cache or cached. It covers writes whose end is never heard of.

What a process has not heard it cannot know, so it *trusts* the stored token only of namespaces
that it has given a token itself, since it started, since a notice could not be stored, and since
it last stood still for longer than the gateway waits. Any other namespace first gets a new token,
at the cost of its cached documents, unless the upstream *vouches* for the stored one: nothing was
written since a process that trusted it made a note of the last write. That holds whoever heard of
writes or not, and is asked for a namespace once, not for each read: from then on notices come.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from services.cache.cache import Cache, CacheUnavailableError
from services.core.clock import Clock
from services.core.ids import IdGenerator, Namespace

__all__ = ["CacheState", "Generation", "GenerationCounts", "Generations", "Vouch"]

_logger = logging.getLogger(__name__)

Vouch = Callable[[Namespace, str], Awaitable[bool]]
"""Whether it is certain that a namespace was not written since a moment at which some process
trusted the token. Never fails."""

_TRUSTED: Final = 100_000
_OWED: Final = 10_000
_BEAT_SECONDS: Final = 0.1
_STILL_SECONDS: Final = 1.0
"""Well below the two seconds for which the gateway tries `end_write`: who stood still for less
got the notice."""
_OWED_SECONDS: Final = 1.0
_KEPT_SECONDS: Final = 86_400.0
"""Far longer than documents, since caches evict what expires soonest."""


@dataclass(frozen=True)
class CacheState:
    """What the cache may be used for now: with a generation, for reading and keeping."""

    generation: str | None
    is_failing: bool = False


@dataclass(frozen=True)
class Generation:
    """The stored record: the token, and until when (epoch ms) it is closed; 0: open."""

    token: str
    closed_until_ms: int = 0

    def encode(self) -> bytes:
        return f"{self.token} {self.closed_until_ms}".encode()

    @classmethod
    def decode(cls, data: bytes) -> Generation:
        token, until = data.decode().split(" ")
        return cls(token, int(until))


@dataclass
class GenerationCounts:
    """What became of generations, since the start."""

    minted: int = 0
    vouched: int = 0
    """Tokens that are trusted on the upstream's word."""
    notices_failed: int = 0
    """Notices that could not be stored at once; they are owed."""
    owed_dropped: int = 0
    stood_still: int = 0


class Generations:
    """The generations of all namespaces, in the cache that the replicas share.

    Args:
        cache: one that tells of its failures.
        vouch: asks the upstream.
        write_seconds: how long a write whose end is not heard of keeps its namespace out of the
            cache.
    """

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        new_id: IdGenerator,
        *,
        vouch: Vouch,
        write_seconds: float,
    ) -> None:
        self.counts = GenerationCounts()
        self._cache = cache
        self._clock = clock
        self._new_id = new_id
        self._vouch = vouch
        self._turns: WeakValueDictionary[Namespace, asyncio.Lock] = WeakValueDictionary()
        self._write_ms = round(write_seconds * 1000)
        self._trusted: OrderedDict[Namespace, None] = OrderedDict()
        self._owed: OrderedDict[Namespace, None] = OrderedDict()
        self._doubts = 0
        self._last_beat = clock.monotonic()

    async def current(self, namespace: Namespace) -> CacheState:
        """The generation to use for a read that starts now. Never fails."""
        try:
            state = await self._believed(namespace)
            return CacheState(await self._mint(namespace)) if state is None else state
        except CacheUnavailableError:
            return CacheState(None, is_failing=True)

    async def peek(self, namespace: Namespace) -> CacheState:
        """The generation, if there is one that is trusted: nothing is minted. Never fails."""
        try:
            return await self._believed(namespace) or CacheState(None)
        except CacheUnavailableError:
            return CacheState(None, is_failing=True)

    async def begin_write(self, namespace: Namespace) -> None:
        """A write is about to be forwarded. Never fails."""
        await self._notice(Generation(self._new_id(), self._now_ms() + self._write_ms), namespace)

    async def end_write(self, namespace: Namespace) -> None:
        """A write was answered, or failed: from here on nothing older is served. Never fails."""
        await self._notice(Generation(self._new_id()), namespace)

    async def beat(self) -> None:
        """Keep noticing whether this process stands still, for as long as the task runs."""
        while True:
            self.tick()
            await self._clock.sleep(_BEAT_SECONDS)

    def tick(self) -> None:
        """One beat: a second without any is a standstill."""
        self._notice_standstill()
        self._last_beat = self._clock.monotonic()

    async def settle(self) -> None:
        """Store what is owed to the other replicas, for as long as the task runs."""
        while True:
            await self._clock.sleep(_OWED_SECONDS)
            for namespace in list(self._owed):
                try:
                    await self._mint(namespace)
                except CacheUnavailableError:
                    break

    async def _notice(self, generation: Generation, namespace: Namespace) -> None:
        try:
            await self._put(namespace, generation)
        except CacheUnavailableError as error:
            self._doubt(namespace)
            if namespace not in self._owed:  # Writes go on while the cache is away.
                _logger.warning(
                    "generation not stored yet",
                    extra={"namespace": namespace, "cause": error.message},
                )
            self._owe(namespace)

    async def _believed(self, namespace: Namespace) -> CacheState | None:
        """What the stored token allows; None when there is none to be believed."""
        self._notice_standstill()
        # Trusted before asking: trust that is won meanwhile is in a token that the answer, on
        # its way already, may not be.
        trusted = self._trusts(namespace)
        stored = await self._stored(namespace)
        if stored is None:
            return None
        if stored.closed_until_ms:
            return CacheState(None) if stored.closed_until_ms > self._now_ms() else None
        if trusted or await self._is_vouched_for(namespace, stored.token):
            return CacheState(stored.token)
        return None

    async def _is_vouched_for(self, namespace: Namespace, token: str) -> bool:
        """Whether the upstream vouches for the token, so that the namespace is trusted now; it is
        asked once by all who wait for it."""
        if namespace in self._owed:
            # Written, and the others do not know it yet.
            return False
        async with self._turns.setdefault(namespace, asyncio.Lock()):
            if self._trusts(namespace):
                # Since another waited here: it was vouched for, or replaced.
                stored = await self._stored(namespace)
                return stored is not None and stored.token == token
            doubts = self._doubts
            if not await self._vouch(namespace, token) or doubts != self._doubts:
                return False
            self.counts.vouched += 1
            self._trust(namespace)
            return True

    async def _mint(self, namespace: Namespace) -> str | None:
        """A new token, acknowledged and trusted; None where nothing is kept, or when doubts came
        up meanwhile."""
        doubts = self._doubts
        generation = Generation(self._new_id())
        if not await self._put(namespace, generation):
            return None
        self.counts.minted += 1
        if doubts != self._doubts:
            return None
        self._owed.pop(namespace, None)
        self._trust(namespace)
        return generation.token

    async def _stored(self, namespace: Namespace) -> Generation | None:
        key = _key(namespace)
        data = (await self._cache.get_many([key])).get(key)
        return None if data is None else Generation.decode(data)

    async def _put(self, namespace: Namespace, generation: Generation) -> bool:
        value = {_key(namespace): generation.encode()}
        return await self._cache.put_many(value, ttl_seconds=_KEPT_SECONDS) == 1

    def _trusts(self, namespace: Namespace) -> bool:
        if namespace not in self._trusted:
            return False
        self._trusted.move_to_end(namespace)
        return True

    def _trust(self, namespace: Namespace) -> None:
        self._trusted[namespace] = None
        self._trusted.move_to_end(namespace)
        if len(self._trusted) > _TRUSTED:
            self._trusted.popitem(last=False)

    def _doubt(self, namespace: Namespace) -> None:
        self._doubts += 1
        self._trusted.pop(namespace, None)

    def _owe(self, namespace: Namespace) -> None:
        self.counts.notices_failed += 1
        self._owed[namespace] = None
        if len(self._owed) > _OWED:
            self._owed.popitem(last=False)
            self.counts.owed_dropped += 1

    def _notice_standstill(self) -> None:
        if self._clock.monotonic() - self._last_beat > _STILL_SECONDS:
            self.counts.stood_still += 1
            self._doubts += 1
            self._trusted.clear()
            self._last_beat = self._clock.monotonic()

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000


def _key(namespace: Namespace) -> str:
    return f"document-generation/{namespace}"
