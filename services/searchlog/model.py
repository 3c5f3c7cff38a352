"""What SearchLogService speaks of."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from services.core.ids import Namespace
from services.formats.trail_keys import TrailKind

__all__ = ["AckLevel", "DropReason", "Fetch", "Search", "Stream", "TrailCounts"]


class Stream(NamedTuple):
    """One trail of one namespace."""

    kind: TrailKind
    namespace: Namespace


class AckLevel(enum.Enum):
    """How safe a record is when its sender is told so."""

    RECEIVED = "received"
    FSYNCED = "fsynced"
    STORED = "stored"


class DropReason(enum.Enum):
    """Why a record was not kept; the value is its metric label."""

    SPOOL_FULL = "spool_full"
    """No room on disk, or the disk does not keep up: the object store has been away for long."""
    TOO_LARGE = "too_large"
    """One entry beyond what an object of the trail holds."""


class Search(msgspec.Struct, frozen=True):
    """A served query, before it has a place in the trail. (A struct: one is made per query.)"""

    namespace: Namespace
    served_ns: int
    """Epoch nanoseconds."""
    trace_id: str
    query: Mapping[str, Any]
    """The summary; it holds no vector."""
    raw_query: str | None = None
    top_result_ids: Sequence[str] = ()
    tags: Sequence[str] = ()
    status: int | None = None
    duration_ms: float | None = None
    result_count: int | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """A document that was fetched within a trace."""

    namespace: Namespace
    served_ns: int
    trace_id: str
    doc_id: str
    served_from: Literal["cache", "upstream"]
    tags: Sequence[str] = ()


@dataclass
class TrailCounts:
    """What became of entries so far; all counts only grow."""

    received: int = 0
    written: int = 0
    objects: int = 0
    replayed: int = 0
    """Read back from the spool, after a restart or an outage of the object store."""
    late: int = 0
    """Received over a minute after they were served."""
    malformed: int = 0
    """Spool records that could not be read."""
    malformed_lines: int = 0
    """Lines of stored objects that were no entries, each time they were met."""
    put_failures: int = 0
    name_collisions: int = 0
    tail_failures: int = 0
    expired_days: int = 0
    """Dropped by retention; of one namespace and kind each."""
    expired_objects: int = 0
    retention_failures: int = 0
    dropped: dict[DropReason, int] = field(default_factory=lambda: dict.fromkeys(DropReason, 0))
