"""Where the trail stands."""

from __future__ import annotations

import pytest

from services.core.ids import parse_namespace
from services.formats.trail_keys import (
    DAY_NANOS,
    ObjectName,
    TrailKind,
    day_of,
    day_start,
    namespace_folder,
    object_key,
    parse_day,
    parse_object_key,
)

NS = parse_namespace("products")
NANOS = 1779436800123450007


@pytest.mark.parametrize("kind", list(TrailKind))
def test_a_key_is_parsed_back(kind: TrailKind) -> None:
    name = ObjectName(day_of(NANOS), NANOS)
    key = object_key(kind, NS, name)
    assert key == f"{kind.value}/products/2026-05-22/1779436800123450007.jsonl"
    assert key.startswith(namespace_folder(kind, NS))
    assert parse_object_key(kind, NS, key) == name


@pytest.mark.parametrize(
    "key",
    [
        "",
        "search-history/products/",
        "search-history/products/2026-05-22/",
        "search-history/other/2026-05-22/1779436800123450007.jsonl",
        "clickstream/products/2026-05-22/1779436800123450007.jsonl",
        "search-history/products/2026-05-22/1779436800123450007.json",
        "search-history/products/2026-05-22/1779436800123450007.jsonl.tmp",
        "search-history/products/2026-05-22/177943680012345000.jsonl",
        "search-history/products/2026-05-22/01779436800123450007.jsonl",
        "search-history/products/2026-05-22/x/1779436800123450007.jsonl",
        "search-history/products/2026-05-23/1779436800123450007.jsonl",
        "search-history/products/2026-05-21/1779436800123450007.jsonl",
        "search-history/products/2026-13-45/1779436800123450007.jsonl",
        "search-history/products/2262-04-12/9223372036854775808.jsonl",
        "search-history/products/2026-05-22/\u0661779436800123450007.jsonl",
    ],
)
def test_foreign_keys_are_none(key: str) -> None:
    assert parse_object_key(TrailKind.SEARCHES, NS, key) is None


def test_a_name_bumped_past_midnight_stays_in_its_day() -> None:
    midnight = day_start("2026-05-23")
    name = ObjectName("2026-05-22", midnight + 5)
    assert parse_object_key(TrailKind.CLICKS, NS, object_key(TrailKind.CLICKS, NS, name)) == name
    assert name.position == midnight - 1
    assert ObjectName("2026-05-22", midnight - 7).position == midnight - 7


def test_days() -> None:
    start = day_start("2026-05-22")
    assert day_of(start) == "2026-05-22"
    assert day_of(start + DAY_NANOS - 1) == "2026-05-22"
    assert day_of(start + DAY_NANOS) == "2026-05-23"
    assert parse_day("2026-02-29") is None
    assert parse_day("2024-02-29") == "2024-02-29"
    assert parse_day("2024-2-29") is None
    assert parse_day("today") is None
