"""Pages of a trail, newest first, at a cost that does not depend on the trail's length."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic

from services.core.clock import Clock
from services.formats.trail import EntryT, decode_line, split_lines
from services.formats.trail_keys import MAX_SPAN_NANOS, NAME_SLACK_NANOS, ObjectName, object_key
from services.searchlog.matching_lines import FoundLine, LineFilter, oldest_of
from services.searchlog.model import Stream, TrailCounts
from services.searchlog.object_bodies import ObjectBodies
from services.searchlog.object_names import ObjectNames, Recent, list_days
from services.searchlog.page_query import PageQuery
from services.storage.object_store import ObjectStore

__all__ = ["ReadLimits", "ReadTrail", "TrailPage", "UnstoredLines"]

_logger = logging.getLogger(__name__)
_FIRST_WAVE: Final = 2
_MAX_OLDEST_KNOWN: Final = 50_000
_MAX_RECENT: Final = 10_000

UnstoredLines = Callable[[Stream], Awaitable[Sequence[Sequence[bytes]]]]
"""Lines that no object holds yet: each writer's, oldest first."""


@dataclass(frozen=True)
class ReadLimits:
    """What one page may cost before it comes back short."""

    objects: int = 1_000
    """Twice the largest page, in objects of one line."""
    lists: int = 24
    seconds: float = 2.0
    parallel: int = 32


@dataclass(frozen=True)
class TrailPage(Generic[EntryT]):
    """Entries, newest first; where the next page starts, None on the last."""

    entries: Sequence[EntryT]
    next_cursor: int | None


@dataclass
class _Progress:
    """A page in the making."""

    query: PageQuery
    filter: LineFilter
    names: ObjectNames
    deadline: float
    pending: deque[ObjectName] = field(default_factory=deque)
    """Listed, unread, newest first."""
    found: set[FoundLine] = field(default_factory=set)
    objects: int = 0
    matched: int = 0
    """Lines found in objects."""

    @property
    def enough(self) -> int:
        """One more than a page tells whether there is a next one."""
        return self.query.limit + 1

    @property
    def frontier(self) -> int:
        """Entries newer than this are all known."""
        if self.pending:
            return self.pending[0].nanos
        return -1 if self.names.exhausted else self.names.ceiling - 1

    def final(self) -> list[FoundLine]:
        frontier = self.frontier
        return sorted((f for f in self.found if f.nanos > frontier), reverse=True)


class ReadTrail:
    """Merges objects and what is not stored yet.

    Objects are read from the newest name down: an entry is final once it is newer than the name
    of the next unread object. Objects named up to a minute above the page may reach into it; what
    has been learnt about the oldest entry of an object saves reading it again for that.
    """

    def __init__(
        self,
        store: ObjectStore,
        bodies: ObjectBodies,
        unstored: UnstoredLines,
        clock: Clock,
        limits: ReadLimits,
        counts: TrailCounts,
    ) -> None:
        self._store = store
        self._counts = counts
        self._bodies = bodies
        self._unstored = unstored
        self._clock = clock
        self._limits = limits
        self._oldest_known: OrderedDict[str, int] = OrderedDict()
        self._recent: OrderedDict[Stream, Recent] = OrderedDict()

    async def __call__(
        self, stream: Stream, kind: type[EntryT], query: PageQuery
    ) -> TrailPage[EntryT]:
        """A page.

        Raises:
            StoreUnavailableError: the object store does not answer.
        """
        if query.oldest > query.newest:
            return TrailPage((), None)
        line_filter = LineFilter(query)
        # Before the objects are listed: an entry that leaves the tail is in an object by then.
        tails = await self._unstored(stream)
        names = ObjectNames(
            self._store,
            stream,
            await list_days(self._store, stream),
            oldest=query.oldest,
            newest=query.newest + MAX_SPAN_NANOS + NAME_SLACK_NANOS,
            now_ns=self._clock.now_ns(),
            recent=self._recent.get(stream),
        )
        deadline = self._clock.monotonic() + self._limits.seconds
        progress = _Progress(query, line_filter, names, deadline)
        for tail in tails:
            progress.found.update(line_filter.newest(tail, progress.enough))
        complete = await self._fill(stream, progress)
        if names.recent is not None:
            self._remember(stream, query, names.recent)
        if line_filter.malformed:
            self._counts.malformed_lines += line_filter.malformed
            _logger.warning(
                "trail lines are malformed and skipped",
                extra={"namespace": stream.namespace, "lines": line_filter.malformed},
            )
        return _page(progress, kind, complete)

    async def _fill(self, stream: Stream, progress: _Progress) -> bool:
        """Read until the page is full or the trail ends; False when the work went too far."""
        while True:
            if not progress.pending and progress.names.exhausted:
                return True
            if len(progress.found) >= progress.enough and (
                len(progress.final()) >= progress.enough
            ):
                return True
            if self._worked_enough(progress):
                return False
            if progress.pending:
                await self._read(stream, progress, self._wave(progress))
            else:
                block = await progress.names.next_block()
                progress.pending.extend(n for n in block if self._may_reach(stream, n, progress))

    def _worked_enough(self, progress: _Progress) -> bool:
        # Below the page's upper end the cursor moves on, so that following it comes to an end.
        if progress.frontier >= progress.query.newest:
            return False
        return (
            progress.objects >= self._limits.objects
            or progress.names.lists >= self._limits.lists
            or self._clock.monotonic() >= progress.deadline
        )

    def _wave(self, progress: _Progress) -> list[ObjectName]:
        """The next objects to read at once: as many as the page is likely to need."""
        pending, query = progress.pending, progress.query
        above = 0
        while above < len(pending) and pending[above].nanos > query.newest:
            above += 1
        if above:
            count = above
        elif progress.objects == 0:
            count = _FIRST_WAVE
        else:
            missing = max(progress.enough - len(progress.final()), 1)
            per_object = progress.matched / progress.objects
            count = int(missing / per_object) + 1 if per_object else self._limits.parallel
            count = min(count, missing)
        count = max(min(count, self._limits.parallel, len(pending)), 1)
        return [pending.popleft() for _ in range(count)]

    async def _read(self, stream: Stream, progress: _Progress, wave: Sequence[ObjectName]) -> None:
        bodies = await self._bodies.get([object_key(*stream, name) for name in wave])
        for key, body in bodies.items():
            lines = split_lines(body)
            self._learn(key, lines)
            found = progress.filter.newest(lines, progress.enough)
            progress.found.update(found)
            progress.matched += len(found)
            # Other calls get their turn between large objects.
            await self._clock.sleep(0)
        progress.objects += sum(name.nanos <= progress.query.newest for name in wave)

    def _may_reach(self, stream: Stream, name: ObjectName, progress: _Progress) -> bool:
        """The object may hold an entry of the page."""
        if name.nanos <= progress.query.newest:
            return True
        oldest = self._oldest_known.get(object_key(*stream, name))
        return oldest is None or oldest <= progress.query.newest

    def _remember(self, stream: Stream, query: PageQuery, recent: Recent) -> None:
        """Where the newest objects are, for the next page 1."""
        known = self._recent.get(stream)
        if known is not None and query.newest < known.newest:
            return
        self._recent[stream] = recent
        self._recent.move_to_end(stream)
        if len(self._recent) > _MAX_RECENT:
            self._recent.popitem(last=False)

    def _learn(self, key: str, lines: Sequence[bytes]) -> None:
        oldest = oldest_of(lines)
        if oldest is not None:
            self._oldest_known[key] = oldest
            self._oldest_known.move_to_end(key)
            if len(self._oldest_known) > _MAX_OLDEST_KNOWN:
                self._oldest_known.popitem(last=False)


def _page(progress: _Progress, kind: type[EntryT], complete: bool) -> TrailPage[EntryT]:
    final = progress.final()
    shown, more = _cut(final, progress.query.limit)
    if more:
        cursor: int | None = shown[-1].nanos
    else:
        cursor = None if complete else progress.frontier + 1
    decoded = (decode_line(found.line, kind) for found in shown)
    return TrailPage([entry for entry in decoded if entry is not None], cursor)


def _cut(final: Sequence[FoundLine], limit: int) -> tuple[Sequence[FoundLine], bool]:
    """The first `limit`, but never some of several entries with one timestamp: the cursor could
    not tell them apart."""
    if len(final) <= limit:
        return final, False
    end = limit
    while end and final[end - 1].nanos == final[end].nanos:
        end -= 1
    if end == 0:
        end = next((i for i, f in enumerate(final) if f.nanos != final[0].nanos), len(final))
    return final[:end], end < len(final)
