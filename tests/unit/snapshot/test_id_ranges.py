"""Ranges of ids: whatever they are split into holds every id once."""

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.snapshot.id_ranges import DocumentId, IdRange, split_points
from tests.doubles.naive_filters import naive_match

MAX = 2**64 - 1
integers = st.one_of(st.integers(0, 30), st.integers(MAX - 30, MAX), st.integers(0, MAX))
uuids = st.one_of(
    st.uuids().map(str),
    st.sampled_from([0, 1, 2**127, 2**128 - 1]).map(lambda number: str(uuid.UUID(int=number))),
)
strings = st.one_of(
    st.text(min_size=1, max_size=5),
    st.text("ab 0~", min_size=1, max_size=20),
    st.integers(0, 9999).map(lambda number: f"doc-{number:04}"),
)
KINDS: list[st.SearchStrategy[list[Any]]] = [
    st.lists(kind, min_size=2, max_size=20, unique=True) for kind in (integers, uuids, strings)
]


def members(part: IdRange, ids: list[Any]) -> list[Any]:
    expression = ["And", list(part.conditions())]
    return [each for each in ids if naive_match(expression, {"id": each})]


@given(st.one_of(KINDS), st.integers(2, 40), st.integers(1, 5), st.data())
def test_a_split_holds_every_id_once(
    ids: list[DocumentId], parts: int, page_size: int, data: st.DataObject
) -> None:
    ids.sort()
    whole = IdRange(after=data.draw(st.sampled_from(ids)))
    split = list(whole.split(parts, ids[-1], page_size))
    assert len(split) <= parts
    # And again, from inside one of the parts.
    at = data.draw(st.integers(0, len(split) - 1))
    inside = members(split[at], ids)
    if inside:
        rest = IdRange(split[at].low, split[at].end, inside[0], split[at].within)
        split[at : at + 1] = rest.split(parts, ids[-1], page_size)
    found = [each for part in split for each in members(part, ids)]
    assert sorted(found + inside[:1]) == members(whole, ids)
    for part in split:
        own = members(part, ids)
        assert not own or part.holds(own[0], own[-1])


@given(st.one_of(KINDS), st.integers(2, 40))
def test_points_ascend_between_the_bounds(ids: list[DocumentId], parts: int) -> None:
    low, high = sorted(ids[:2])
    points = list(split_points(low, high, parts))
    assert len(points) < parts
    assert points == sorted(set(points))
    assert all(low < point <= high for point in points)  # type: ignore[operator]
    if isinstance(low, str) and isinstance(high, str):
        longest = max(len(low.encode()), len(high.encode()))
        assert all(len(str(point).encode()) <= longest for point in points)


def test_points_divide_evenly() -> None:
    assert split_points(0, 100, 4) == [25, 50, 75]
    assert split_points(MAX - 4, MAX, 2) == [MAX - 2]
    first, last = str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))
    assert [str(point)[:2] for point in split_points(first, last, 4)] == ["3f", "7f", "bf"]
    assert [str(point)[:5] for point in split_points("doc-0", "doc-8", 4)] == [
        "doc-2",
        "doc-4",
        "doc-6",
    ]


@pytest.mark.parametrize(("low", "high"), [("a", "é"), (1, "a"), ("b", "a"), (5, 5), ("a", "a")])
def test_where_nothing_is_known_nothing_is_split(low: DocumentId, high: DocumentId) -> None:
    assert list(split_points(low, high, 8)) == []
    assert IdRange(after=low).split(8, high, 1) == [IdRange(after=low)]


def test_what_one_page_holds_is_not_split() -> None:
    assert IdRange(after=10).split(8, 19, 10) == [IdRange(after=10)]
    assert len(IdRange(after=10).split(8, 30, 10)) == 8


@pytest.mark.parametrize(
    ("part", "first", "last", "holds"),
    [
        (IdRange(low=3, end=9), 3, 8, True),
        (IdRange(low=3, end=9), 2, 8, False),
        (IdRange(low=3, end=9), 3, 9, False),
        (IdRange(low=3, after=5), 5, 6, False),
        (IdRange(after=5), "a", "b", False),
    ],
)
def test_what_a_range_holds(
    part: IdRange, first: DocumentId, last: DocumentId, holds: bool
) -> None:
    assert part.holds(first, last) is holds
