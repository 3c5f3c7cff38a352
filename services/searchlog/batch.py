"""Entries that become one object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from services.formats.trail_keys import DAY_NANOS, MAX_NANOS, MAX_SPAN_NANOS, ObjectName, day_of
from services.searchlog.model import Stream
from services.searchlog.spool import Group

__all__ = ["Batch", "FlushRules", "HeldEntry"]


@dataclass(frozen=True)
class FlushRules:
    """When a batch becomes an object, besides what the format demands."""

    max_bytes: int = 4 * 1024**2
    max_entries: int = 5_000
    brisk_seconds: float = 1.0
    """With at least `brisk_entries` waiting, or a caller, the oldest waits this long."""
    brisk_entries: int = 100
    linger_seconds: float = 15.0
    """The oldest never waits longer."""


class HeldEntry(NamedTuple):
    """An entry in memory; orders by time."""

    nanos: int
    line: bytes
    group: Group


@dataclass(eq=False)
class Batch:
    """Entries of one stream, of one UTC day, spanning at most a minute."""

    stream: Stream
    opened_at: float
    """Monotonic seconds."""
    entries: list[HeldEntry] = field(default_factory=list)
    size_bytes: int = 0
    """Of the lines, with their line feeds."""
    oldest: int = MAX_NANOS
    newest: int = 0
    awaited: bool = False
    """A caller waits until it is stored."""
    closed: bool = False
    _lowest: int = 0
    """Between it and `_highest` an entry may join without breaking the format."""
    _highest: int = MAX_NANOS

    def fits(self, nanos: int) -> bool:
        """The entry may join without breaking the format."""
        return self._lowest <= nanos <= self._highest and not self.closed

    def add(self, entry: HeldEntry) -> None:
        nanos = entry.nanos
        if nanos > self.newest:
            self.newest = nanos
            self._lowest = max(nanos - MAX_SPAN_NANOS, nanos - nanos % DAY_NANOS)
        if nanos < self.oldest:
            self.oldest = nanos
            self._highest = min(nanos + MAX_SPAN_NANOS, nanos - nanos % DAY_NANOS + DAY_NANOS - 1)
        self.entries.append(entry)
        self.size_bytes += len(entry.line) + 1

    def full(self, rules: FlushRules) -> bool:
        return self.size_bytes >= rules.max_bytes or len(self.entries) >= rules.max_entries

    def brisk(self, rules: FlushRules) -> bool:
        """It does not linger."""
        return self.awaited or len(self.entries) >= rules.brisk_entries

    def name(self) -> ObjectName:
        return ObjectName(day_of(self.newest), self.newest)

    def body(self) -> bytes:
        """The object: oldest entry first, one a line."""
        lines = [entry.line for entry in sorted(self.entries, key=lambda entry: entry.nanos)]
        return b"\n".join(lines) + b"\n"
