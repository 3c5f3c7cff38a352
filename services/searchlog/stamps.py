"""Timestamps that are unique within a namespace."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from services.searchlog.model import Stream

__all__ = ["Stamps"]

_MAX_STREAMS: Final = 10_000
_MAX_REMEMBERED: Final = 16_384


class Stamps:
    """Turns readings of a clock into unique ones.

    The last three digits are the writer's, since clocks do not resolve them; so two writers never
    give out the same. A reading that was given out is bumped by a microsecond until it is free.
    The newest `_MAX_REMEMBERED` of a namespace are remembered.
    """

    def __init__(self, writer_digits: int) -> None:
        if not 0 <= writer_digits <= 999:
            raise ValueError(f"a writer id is 0 to 999, not {writer_digits}")
        self._digits = writer_digits
        self._streams: OrderedDict[Stream, dict[int, int]] = OrderedDict()

    def take(self, stream: Stream, reading_ns: int) -> int:
        """A stamp at or shortly after the reading's microsecond, never given out before."""
        taken = self._taken(stream)
        wanted = free = reading_ns // 1000
        while free in taken:
            free = taken[free]
        # A hint for the next equal reading: many of them must not cost a walk each.
        taken.pop(wanted, None)
        taken[free] = taken[wanted] = free + 1
        while len(taken) > _MAX_REMEMBERED:
            del taken[next(iter(taken))]
        return free * 1000 + self._digits

    def note(self, stream: Stream, stamp: int) -> None:
        """A stamp that an earlier process gave out."""
        taken = self._taken(stream)
        taken.setdefault(stamp // 1000, stamp // 1000 + 1)
        while len(taken) > _MAX_REMEMBERED:
            del taken[next(iter(taken))]

    def _taken(self, stream: Stream) -> dict[int, int]:
        taken = self._streams.get(stream)
        if taken is None:
            taken = self._streams[stream] = {}
            if len(self._streams) > _MAX_STREAMS:
                self._streams.popitem(last=False)
        else:
            self._streams.move_to_end(stream)
        return taken
