"""Durations as they are written in policies: an integer and one of `ms s m h d w`."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["format_duration", "parse_duration"]

_UNITS_MS: Final = {
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h|d|w)")
_LONGEST_MS: Final = 3_652_500 * 86_400_000
"""10,000 years: sums with a time in milliseconds stay in 64 bits."""


def parse_duration(text: str) -> int:
    """Milliseconds of a text such as `5m`.

    Raises:
        ValueError: it is not of that form, or longer than 10,000 years.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: an integer and one of ms, s, m, h, d, w")
    milliseconds = int(match[1]) * _UNITS_MS[match[2]]
    if milliseconds > _LONGEST_MS:
        raise ValueError(f"{text!r} is longer than 10,000 years")
    return milliseconds


def format_duration(milliseconds: int) -> str:
    """The text with the largest unit, up to days, that holds it as a whole number."""
    for unit, size in _UNITS_MS.items():
        # Retention is spoken of in days: `7d` must not come back as `1w`.
        if unit != "w" and milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"
