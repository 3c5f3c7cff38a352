"""Rows counted a second, beside the same count over a dict a row."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from services.snapshot.count_facets import FacetCounter
from tests.bench.measure import best_seconds, report

PAGES = 10
ROWS_A_PAGE = 10_000
FIELDS = ("color", "size", "tags")


def pages() -> list[bytes]:
    """Pages as Turbopuffer answers them."""
    source = random.Random(7)
    return [
        msgspec.json.encode(
            {
                "rows": [
                    {
                        "id": page * ROWS_A_PAGE + at,
                        "$dist": 0.0,
                        "color": f"color {source.randrange(50)}",
                        "size": source.randrange(1000),
                        "tags": [f"tag {source.randrange(200)}" for _ in range(3)],
                    }
                    for at in range(ROWS_A_PAGE)
                ],
                "billing": {},
                "performance": {},
            }
        )
        for page in range(PAGES)
    ]


def counted(data: list[bytes]) -> Callable[[], object]:
    def run() -> object:
        counter = FacetCounter(FIELDS)
        for page in data:
            counter.add_page(page)
        return counter.result()

    return run


def naive(data: list[bytes], decode: Callable[[bytes], Any]) -> Callable[[], object]:
    """A dict a row, a value at a time."""

    def run() -> object:
        counters: dict[str, Counter[Any]] = {name: Counter() for name in FIELDS}
        for page in data:
            for row in decode(page)["rows"]:
                for name, counter in counters.items():
                    value = row.get(name)
                    if isinstance(value, list):
                        counter.update(set(value))
                    elif value is not None:
                        counter[value] += 1
        return counters

    return run


def decoded(data: list[bytes], decode: Callable[[bytes], Any]) -> Callable[[], object]:
    """Decoding alone."""
    return lambda: [len(decode(page)["rows"]) for page in data]


def main() -> None:
    data = pages()
    alternatives = {
        "FacetCounter": counted(data),
        "msgspec dicts, counted": naive(data, msgspec.json.decode),
        "msgspec dicts, decoded only": decoded(data, msgspec.json.decode),
        "json dicts, decoded only": decoded(data, json.loads),
        "json dicts, counted": naive(data, json.loads),
    }
    report(best_seconds(alternatives), PAGES * ROWS_A_PAGE, "rows")
