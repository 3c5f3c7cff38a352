"""Disjoint ranges of ids that together hold every document."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["DocumentId", "IdRange", "split_points"]

DocumentId = str | int

# String ids are split where they read as numbers to this base: printable ASCII in its order.
_FIRST: Final = ord(" ")
_BASE: Final = ord("~") - _FIRST + 1
_PRINTABLE: Final = re.compile(r"[ -~]*")
_DIGITS: Final = 12
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class IdRange:
    """Documents still to be read: those with low <= id < end, or id > after once some were read,
    that meet the conditions in `within`. None: no such bound."""

    low: DocumentId | None = None
    end: DocumentId | None = None
    after: DocumentId | None = None
    within: tuple[object, ...] = ()

    def conditions(self) -> tuple[object, ...]:
        """The range as filters."""
        conditions = list(self.within)
        if self.after is not None:
            conditions.append(["id", "Gt", self.after])
        elif self.low is not None:
            conditions.append(["id", "Gte", self.low])
        if self.end is not None:
            conditions.append(["id", "Lt", self.end])
        return tuple(conditions)

    def holds(self, first: DocumentId, last: DocumentId) -> bool:
        """Whether ids from first to last belong here, in Python's order of integers and of
        strings, which is the one that the split points are made in."""
        try:
            return (
                first <= last  # type: ignore[operator]
                and (self.after is None or self.after < first)  # type: ignore[operator]
                and (self.low is None or self.low <= first)  # type: ignore[operator]
                and (self.end is None or last < self.end)  # type: ignore[operator]
            )
        except TypeError:
            return False

    def split(self, parts: int, highest: DocumentId, page_size: int) -> Sequence[IdRange]:
        """The range as up to `parts` ranges. It stays whole where nobody knows where to split,
        or where the next page is sure to be the last.

        Args:
            highest: the highest id of all; bounds a range that has no end.
            page_size: documents that one query returns.
        """
        high = highest if self.end is None else self.end
        if self.after is None or parts < 2:
            return [self]
        if isinstance(self.after, int) and isinstance(high, int) and high - self.after < page_size:
            return [self]
        points = split_points(self.after, high, parts)
        if not points:
            return [self]
        ends = [*points[1:], self.end]
        # The first keeps its place; the others begin at their own bound.
        others = [
            IdRange(low, end, None, self.within) for low, end in zip(points, ends, strict=True)
        ]
        return [replace(self, end=points[0]), *others]


def split_points(low: DocumentId, high: DocumentId, parts: int) -> Sequence[DocumentId]:
    """Up to `parts - 1` ascending ids with low < id <= high, evenly spaced in the space of such
    ids; none where that space is unknown."""
    if isinstance(low, int) and isinstance(high, int):
        return [point for point in _evenly(low, high, parts) if low < point <= high]
    if not isinstance(low, str) or not isinstance(high, str) or low >= high:
        return []
    if _UUID.fullmatch(low) and _UUID.fullmatch(high):
        numbers = _evenly(uuid.UUID(low).int, uuid.UUID(high).int, parts)
        texts = [str(uuid.UUID(int=number)) for number in numbers]
    else:
        texts = _between_strings(low, high, parts)
    return sorted({text for text in texts if low < text <= high})


def _evenly(low: int, high: int, parts: int) -> Sequence[int]:
    """Points that cut low..high into equal parts; each once."""
    return sorted({low + (high - low) * at // parts for at in range(1, parts)})


def _between_strings(low: str, high: str, parts: int) -> list[str]:
    """Strings between two that are printable ASCII behind what they have in common."""
    common = 0
    while common < len(low) and low[common] == high[common]:
        common += 1
    prefix = low[:common]
    ends = [text[common : common + _DIGITS] for text in (low, high)]
    if not all(_PRINTABLE.fullmatch(text) for text in ends):
        return []
    numbers = _evenly(_number(ends[0]), _number(ends[1]), parts)
    # No longer than the ids themselves: the upstream bounds their length.
    longest = max(len(low), len(high))
    return [(prefix + _text(number))[:longest] for number in numbers]


def _number(text: str) -> int:
    number = 0
    for char in text.ljust(_DIGITS, chr(_FIRST)):
        number = number * _BASE + ord(char) - _FIRST
    return number


def _text(number: int) -> str:
    chars = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, _BASE)
        chars.append(chr(_FIRST + digit))
    return "".join(reversed(chars))
