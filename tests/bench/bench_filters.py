"""Documents filtered a second by a compiled tree, beside one that is built for each document."""

from __future__ import annotations

from typing import Any

from services.filters.evaluate import evaluate, matcher
from services.filters.parse import parse_filter
from tests.bench.measure import best_seconds, report

DOCUMENTS = 20_000
EXPRESSION = [
    "And",
    [["color", "In", ["red", "blue"]], ["Or", [["size", "Gte", 5], ["tags", "Contains", "a"]]]],
]


def main() -> None:
    documents: list[dict[str, Any]] = [
        {"id": at, "color": ["red", "blue", "green"][at % 3], "size": at % 9, "tags": ["a", "b"]}
        for at in range(DOCUMENTS)
    ]
    tree = parse_filter(EXPRESSION)
    test = matcher(tree)
    alternatives = {
        "matcher": lambda: sum(map(test, documents)),
        "evaluate": lambda: sum(evaluate(tree, document) for document in documents),
    }
    report(best_seconds(alternatives), DOCUMENTS, "documents")
