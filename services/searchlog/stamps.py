"""Timestamps that are unique within a namespace."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from services.searchlog.model import Stream

__all__ = ["Stamps"]

_MIN_REMEMBERED: Final = 8_192
_MAX_REMEMBERED: Final = 400_000
"""Of all namespaces; some 60 MB."""
_STEP_NANOS: Final = 10_000
_LANES: Final = 10


class Stamps:
    """Turns readings of a clock into unique ones.

    A stamp is the reading's 10 µs, and then four digits that clocks do not resolve:

    - three are the writer's, so that two writers never give out the same stamp;
    - the one before is the last digit of how often the writer has started: it cannot know what it
      gave out before a restart, and a caller's times may be coarse or old.

    A reading that was given out is bumped by 10 µs until it is free. At least the newest
    `_MIN_REMEMBERED` of a namespace are remembered, but of all together `_MAX_REMEMBERED`: those
    namespaces are forgotten that have been silent for longest.
    """

    def __init__(self, writer_digits: int, starts: int) -> None:
        if not 0 <= writer_digits <= 999:
            raise ValueError(f"a writer id is 0 to 999, not {writer_digits}")
        self._low_digits = starts % _LANES * 1000 + writer_digits
        self._streams: OrderedDict[Stream, _Taken] = OrderedDict()
        self._remembered = 0

    def take(self, stream: Stream, reading_ns: int) -> int:
        """A stamp within 10 µs of the reading or shortly after it, never given out before."""
        taken = self._streams.get(stream)
        if taken is None:
            taken = self._streams[stream] = _Taken()
        else:
            self._streams.move_to_end(stream)
        before = taken.size
        step = taken.take(reading_ns // _STEP_NANOS)
        self._remembered += taken.size - before
        while self._remembered > _MAX_REMEMBERED:
            _, silent = self._streams.popitem(last=False)
            self._remembered -= silent.size
        return step * _STEP_NANOS + self._low_digits


class _Taken:
    """Steps that were given out, each with the step to try next.

    In two tables, of which the older one is forgotten whole: to delete the oldest keys of a dict
    one by one takes a walk over those that were deleted before.
    """

    def __init__(self) -> None:
        self._newer: dict[int, int] = {}
        self._older: dict[int, int] = {}

    @property
    def size(self) -> int:
        return len(self._newer) + len(self._older)

    def take(self, wanted: int) -> int:
        newer, older = self._newer, self._older
        free = wanted
        while (following := newer.get(free) or older.get(free)) is not None:
            free = following
        # A hint for the next equal reading: many of them must not cost a walk each.
        newer[free] = newer[wanted] = free + 1
        if len(newer) >= _MIN_REMEMBERED:
            self._newer, self._older = {}, newer
        return free
