"""Unique timestamps."""

from __future__ import annotations

import random

import pytest

from services.searchlog.stamps import Stamps
from tests.doubles.searchlog_bench import searches

NOW = 1_790_000_000_123_456_789
STREAM = searches("a")


def test_a_stamp_is_within_ten_microseconds_and_carries_the_writer() -> None:
    stamp = Stamps(42, starts=13).take(STREAM, NOW)
    assert stamp == 1_790_000_000_123_453_042


def test_equal_readings_are_bumped() -> None:
    stamps = Stamps(7, starts=1)
    assert [stamps.take(STREAM, NOW) - stamps.take(searches("b"), NOW) for _ in range(3)] == [0] * 3
    assert stamps.take(STREAM, NOW) == Stamps(7, starts=1).take(STREAM, NOW) + 30_000


@pytest.mark.timeout(5)
def test_a_flood_of_equal_readings_is_quick_and_unique() -> None:
    stamps = Stamps(7, starts=1)
    taken = [stamps.take(STREAM, NOW) for _ in range(50_000)]
    assert len(set(taken)) == len(taken)


def test_random_readings_of_many_writers_and_starts_never_collide() -> None:
    rng = random.Random(3)
    taken = []
    for digits in (0, 1, 999):
        for starts in range(1, 11):
            stamps = Stamps(digits, starts)
            taken += [stamps.take(STREAM, NOW + rng.randrange(10**6)) for _ in range(300)]
    assert len(set(taken)) == len(taken)
    assert all(abs(stamp - NOW) < 10**8 for stamp in taken)


def test_what_is_remembered_is_bounded_for_all_namespaces_together() -> None:
    stamps = Stamps(7, starts=1)
    for n in range(450_000):
        stamps.take(searches(f"tenant-{n % 5_000}"), NOW + n * 10_000)
    assert stamps.take(searches("tenant-4999"), NOW + 449_999 * 10_000) > NOW + 449_999 * 10_000
    sizes = [taken.size for taken in stamps._streams.values()]
    assert sum(sizes) == stamps._remembered <= 400_000


@pytest.mark.parametrize("digits", [-1, 1000])
def test_a_writer_id_has_three_digits(digits: int) -> None:
    with pytest.raises(ValueError, match="0 to 999"):
        Stamps(digits, starts=1)
