"""Parameters of list calls."""

from __future__ import annotations

from typing import Any

import pytest

from services.core.errors import ErrorKind, LayerError
from services.formats.trail_keys import MAX_NANOS, MIN_NANOS
from services.searchlog.page_query import PageQuery, parse_page_query

EIGHT = 1_779_436_800_000_000_000


def parse(**given: Any) -> PageQuery:
    fields: dict[str, Any] = dict.fromkeys(("from_", "to", "before", "trace_id"))
    fields |= {"limit": 50, "tags": ()} | given
    return parse_page_query(**fields)


def test_nothing_given() -> None:
    assert parse() == PageQuery(50, MIN_NANOS, MAX_NANOS, frozenset(), None)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("2026-05-22T08:00:00Z", EIGHT),
        ("2026-05-22t08:00:00z", EIGHT),
        ("2026-05-22 08:00:00Z", EIGHT),
        ("2026-05-22T10:00:00+02:00", EIGHT),
        ("2026-05-22T08:00:00.123456789Z", EIGHT + 123_456_789),
        ("2026-05-22T08:00:00.1234567899Z", EIGHT + 123_456_789),
        ("2026-05-22T08:00:00.5-00:00", EIGHT + 500_000_000),
    ],
)
def test_times_are_inclusive(text: str, nanos: int) -> None:
    assert parse(from_=text).oldest == nanos
    assert parse(to=text).newest == nanos


@pytest.mark.parametrize("name", ["from_", "to"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-05-22",
        "2026-05-22T08:00:00",
        "2026-05-22T08:00Z",
        "2026-02-30T08:00:00Z",
        "2026-05-22T25:00:00Z",
        "2026-05-22T08:00:00+25:00",
        "0001-01-01T00:00:00+23:00",
        "1779436800",
        "2026-W21-5T08:00:00Z",
    ],
)
def test_a_bad_time_names_its_parameter(name: str, text: str) -> None:
    with pytest.raises(LayerError, match=name.rstrip("_")) as caught:
        parse(**{name: text})
    assert caught.value.kind is ErrorKind.VALIDATION


def test_times_beyond_the_trail() -> None:
    assert parse(from_="1066-10-14T09:00:00Z").oldest == MIN_NANOS
    assert parse(to="9999-12-31T23:59:59Z").newest == MAX_NANOS
    assert parse(to="0001-01-01T00:00:00Z").newest < MIN_NANOS


def test_from_is_not_after_to() -> None:
    eight = "2026-05-22T08:00:00Z"
    assert parse(from_=eight, to=eight).oldest == parse(from_=eight, to=eight).newest == EIGHT
    assert parse(from_="1066-10-14T09:00:00Z", to="1070-01-01T00:00:00Z").oldest == MIN_NANOS
    with pytest.raises(LayerError, match="from is after to"):
        parse(from_="2026-05-22T08:00:00.000000001Z", to=eight)
    # A cursor below `from` is no mistake: the last page may be asked for once more.
    assert parse(from_=eight, before=str(EIGHT - 5)).newest < EIGHT


def test_before_is_strict_and_joins_to() -> None:
    assert parse(before=str(EIGHT)).newest == EIGHT - 1
    assert parse(before=str(EIGHT), to="2026-05-22T07:00:00Z").newest < EIGHT - 1
    assert parse(before=str(MAX_NANOS)).newest == MAX_NANOS - 1
    assert parse(before="0000000000000000001").newest == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-5",
        "+5",
        "1.5",
        "abc",
        " 5",
        "0x5",
        "\u0665",
        "1_000",
        str(MAX_NANOS + 1),
        "9" * 40,
    ],
)
def test_a_bad_cursor(text: str) -> None:
    with pytest.raises(LayerError, match="before") as caught:
        parse(before=text)
    assert caught.value.kind is ErrorKind.VALIDATION


def test_tags_and_trace() -> None:
    query = parse(tags=["b,a", "a"], trace_id="F81D4FAE7DEC11D0A76500A0C91E6BF6")
    assert query.tags == {"a", "b"}
    assert query.trace_id == "f81d4fae7dec11d0a76500a0c91e6bf6"
    for bad in ("b d", "x" * 129, ",".join(f"t{n}" for n in range(33))):
        with pytest.raises(LayerError):
            parse(tags=[bad])
    for bad in ("", "f81d", "0" * 32, "g" * 32):
        with pytest.raises(LayerError, match="trace_id"):
            parse(trace_id=bad)
