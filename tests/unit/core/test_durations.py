"""Durations of policies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.durations import format_duration, parse_duration


@given(st.integers(0, 10**12))
def test_a_formatted_duration_is_the_same_time(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


def test_units() -> None:
    assert [parse_duration(f"2{unit}") for unit in ("ms", "s", "m", "h", "d", "w")] == [
        2,
        2_000,
        120_000,
        7_200_000,
        172_800_000,
        1_209_600_000,
    ]
    assert format_duration(300_000) == "5m"
    assert format_duration(0) == "0ms"


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5.5m", "5 m", "5M", "5y", "\u0665m", "99999999w"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"longer|not a duration"):
        parse_duration(text)
