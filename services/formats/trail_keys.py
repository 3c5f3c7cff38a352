"""Where the query trail stands in the object store.

    {kind}/{namespace}/{YYYY-MM-DD}/{timestamp_nanos}.jsonl

The name is the time of the newest entry inside or, after a collision or an erasure, some
nanoseconds above what that was. All entries of an object lie in the UTC day of its folder, and
within `MAX_SPAN_NANOS` of the newest one that it ever held. Names have 19 digits
(from 2001-09-09 to 2262), so their order as text is their order in time.
"""

from __future__ import annotations

import enum
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from services.core.ids import Namespace

__all__ = [
    "DAY_NANOS",
    "LATEST_SERVED_NANOS",
    "MAX_NANOS",
    "MAX_SPAN_NANOS",
    "MIN_NANOS",
    "NAME_SLACK_NANOS",
    "ObjectName",
    "TrailKind",
    "day_of",
    "day_start",
    "namespace_folder",
    "object_key",
    "parse_day",
    "parse_object_key",
]

MIN_NANOS: Final = 10**18
MAX_NANOS: Final = 2**63 - 1
LATEST_SERVED_NANOS: Final = MAX_NANOS - 10**12
"""Of a query: room for stamps and names to be bumped."""
MAX_SPAN_NANOS: Final = 60 * 10**9
DAY_NANOS: Final = 86_400 * 10**9

NAME_SLACK_NANOS: Final = 1000
"""How far a name may be bumped above the newest entry, even past midnight."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})/(\d{19})\.jsonl", re.ASCII)


class TrailKind(enum.Enum):
    """The two trails; the value is the first segment of their keys."""

    SEARCHES = "search-history"
    CLICKS = "clickstream"


class ObjectName(NamedTuple):
    """An object of one namespace's trail; ascending order is the order of the keys."""

    day: str
    """`YYYY-MM-DD`: the folder."""
    nanos: int

    @property
    def position(self) -> int:
        """Epoch nanoseconds within the folder's day: a name bumped past midnight stays in it."""
        return min(self.nanos, day_start(self.day) + DAY_NANOS - 1)


def day_of(nanos: int) -> str:
    """The UTC day, `YYYY-MM-DD`."""
    return datetime.fromtimestamp(nanos // 10**9, UTC).strftime("%Y-%m-%d")


@lru_cache(maxsize=1024)
def day_start(day: str) -> int:
    """Epoch nanoseconds of the day's first instant."""
    return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()) * 10**9


@lru_cache(maxsize=1024)
def parse_day(segment: str) -> str | None:
    """The folder of a day; None for another one."""
    if not _DAY.fullmatch(segment):
        return None
    try:
        datetime.strptime(segment, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return segment


def namespace_folder(kind: TrailKind, namespace: Namespace) -> str:
    """The prefix of a namespace's trail, with the slash."""
    return f"{kind.value}/{namespace}/"


def object_key(kind: TrailKind, namespace: Namespace, name: ObjectName) -> str:
    """The key of an object."""
    return f"{kind.value}/{namespace}/{name.day}/{name.nanos:019d}.jsonl"


def parse_object_key(kind: TrailKind, namespace: Namespace, key: str) -> ObjectName | None:
    """The object of that namespace's trail; None for a foreign key under its prefix."""
    match = _NAME.fullmatch(key.removeprefix(namespace_folder(kind, namespace)))
    if match is None or parse_day(match[1]) is None:
        return None
    name = ObjectName(match[1], int(match[2]))
    past_midnight = name.nanos - day_start(name.day)
    if not 0 <= past_midnight < DAY_NANOS + NAME_SLACK_NANOS or not name.nanos <= MAX_NANOS:
        return None
    return name
