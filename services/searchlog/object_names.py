"""The objects of a stream, newest first, from a store that lists in ascending order only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.formats.trail_keys import (
    DAY_NANOS,
    ObjectName,
    day_of,
    day_start,
    namespace_folder,
    object_key,
    parse_day,
    parse_object_key,
)
from services.searchlog.model import Stream
from services.storage.object_store import ObjectStore

__all__ = ["ObjectNames", "Recent", "list_days"]

_LISTED: Final = 1000
_AIMED: Final = 600
"""Names that a window is sized for; more than `_LISTED` would cost another LIST."""
_THIN: Final = 4
_BOLDEST: Final = 64


class Recent(NamedTuple):
    """Where the newest names of a stream were when they were last listed: a guess, no more."""

    newest: int
    width: int
    """Nanoseconds back from there in which there are about as many names as one LIST is for."""


async def list_days(store: ObjectStore, stream: Stream) -> Sequence[str]:
    """The days that have objects, newest first. One LIST."""
    folder = namespace_folder(stream.kind, stream.namespace)
    segments = await store.list_children(folder)
    return sorted(filter(None, map(parse_day, segments)), reverse=True)


class ObjectNames:
    """Lists windows of time backwards.

    The first window is a whole day. One that comes back cut (1,000 keys) shrinks to what its
    density says; one that comes back thin grows. Time between the days that exist does not count.
    What a cut LIST returned is kept, so that a day of 1,500 objects costs two.

    Where a trail became silent in the middle of a crowded day, windows are halved between what is
    known to be crowded and what is known to be empty: some eight LISTs, which knowing where it
    ended spares the next reader.
    """

    def __init__(
        self,
        store: ObjectStore,
        stream: Stream,
        days: Sequence[str],
        *,
        oldest: int,
        newest: int,
        now_ns: int,
        recent: Recent | None = None,
    ) -> None:
        """Names from `oldest` to `newest`, both included; `days` are newest first."""
        self.lists = 0
        self.recent: Recent | None = None
        """Of the newest names that have been listed."""
        self._store = store
        self._stream = stream
        self._days = [day for day in days if day_of(oldest) <= day <= day_of(newest)]
        self._bottom = max(oldest, day_start(self._days[-1])) if self._days else 0
        self._ceiling = self._below_end(newest) + 1 if self._days else 0
        self._now_ns = now_ns
        self._guess = recent
        self._width: int | None = None
        self._crowded = 1
        """The width that the density of the last cut LIST asks for."""
        self._silent = False
        """There is nothing above the ceiling, for a while that is not known."""
        self._kept: list[ObjectName] = []
        self._kept_from = 0

    @property
    def exhausted(self) -> bool:
        """There are no more names."""
        return self._ceiling <= self._bottom

    @property
    def ceiling(self) -> int:
        """Names at or above it are known; names that are to come are below it."""
        return self._ceiling

    async def next_block(self) -> Sequence[ObjectName]:
        """The next names, newest first; may be empty. One LIST."""
        start = self._window_start()
        gap_closes = bool(self._kept) and start <= self._kept[-1].position
        if gap_closes:
            start = self._kept[-1].position + 1
        names, cut = await self._list(start)
        if cut:
            self._shrink(start, names, joined=gap_closes)
            return []
        block, bottom = names, start
        if gap_closes:
            block, bottom = self._kept + names, self._kept_from
            self._kept = []
        top, self._ceiling = self._ceiling, bottom
        self._resize(len(block), top)
        if block and self.recent is None:
            newest = block[-1].position
            width = self._elapsed(bottom, newest) * _AIMED // len(block)
            self.recent = Recent(newest, width)
        return block[::-1]

    async def _list(self, start: int) -> tuple[list[ObjectName], bool]:
        """Names from `start` to the ceiling, ascending, and whether some are missing."""
        folder = namespace_folder(self._stream.kind, self._stream.namespace)
        after = object_key(*self._stream, ObjectName(self._day_at(start), start - 1))
        found: list[ObjectName] = []
        while True:
            self.lists += 1
            keys = await self._store.list(folder, start_after=after, limit=_LISTED)
            parsed = (parse_object_key(*self._stream, key) for key in keys)
            found.extend(name for name in parsed if name is not None)
            if len(keys) < _LISTED or (found and found[-1].position >= self._ceiling):
                return [name for name in found if name.position < self._ceiling], False
            if found:
                return found, True
            # A thousand foreign keys say nothing about where ours are.
            after = keys[-1]

    def _window_start(self) -> int:
        newest_day = day_start(self._day_at(self._ceiling - 1))
        if self._width is None:
            guess, self._guess = self._guess, None
            if guess is not None and newest_day <= guess.newest < self._ceiling:
                return max(guess.newest - guess.width, newest_day, self._bottom)
            return max(newest_day, self._bottom)
        # Nothing is expected above now; what is there all the same is listed too.
        anchor = self._now_ns if newest_day < self._now_ns < self._ceiling else self._ceiling
        return max(self._back(anchor, self._width), self._bottom)

    def _shrink(self, start: int, names: list[ObjectName], *, joined: bool) -> None:
        """A cut LIST: size the next window by its density, and keep its names."""
        span = self._elapsed(names[0].position, names[-1].position)
        self._crowded = max(span * _AIMED // len(names), 1)
        if joined:
            self._kept.extend(names)
        else:
            self._kept, self._kept_from = names, start
        self._width = max(self._crowded, self._half_gap() if self._silent else 0)

    def _resize(self, count: int, top: int) -> None:
        """A complete window from the ceiling up to `top`: size the next one by it."""
        self._silent = count == 0 and bool(self._kept)
        if self._silent:
            self._width = max(self._crowded, self._half_gap())
            return
        width = max(self._elapsed(self._ceiling, top), 1)
        factor = _AIMED / count if count else _THIN
        if 0 < count < _AIMED // _THIN:
            factor = max(factor, _THIN)
        self._width = max(int(width * min(factor, _BOLDEST)), 1)

    def _half_gap(self) -> int:
        """Half the time between the kept names and the ceiling."""
        return self._elapsed(self._kept[-1].position, self._ceiling) // 2

    def _day_at(self, nanos: int) -> str:
        """The newest existing day that is not after that time, or the oldest one."""
        day = day_of(nanos)
        return next((d for d in self._days if d <= day), self._days[-1])

    def _below_end(self, newest: int) -> int:
        return min(newest, day_start(self._days[0]) + DAY_NANOS - 1)

    def _back(self, nanos: int, width: int) -> int:
        """That time less a width that only existing days count towards."""
        for day in self._days:
            start = day_start(day)
            if start >= nanos:
                continue
            end = min(nanos, start + DAY_NANOS)
            if width <= end - start:
                return end - width
            width -= end - start
        return self._bottom

    def _elapsed(self, start: int, end: int) -> int:
        """Time between two instants within existing days."""
        total = 0
        for day in self._days:
            first = day_start(day)
            total += max(min(end, first + DAY_NANOS) - max(start, first), 0)
        return total
