"""What a query asked for, without its vectors.

`vector` is the shape of the first vector. `rank_by`, the limits, `filters`, and what was asked to
be returned are as sent, every vector in them replaced by its shape: `f32[1536]`, `f32[32][128]`
for several, `f32[?]` where it cannot be told. A multi-query has `queries`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from services.searchlog.elide_arrays import ElidedJson, NumberArray

__all__ = ["find_query_text", "summarise_query"]

_AS_SENT: Final = (
    "top_k",
    "limit",
    "filters",
    "include_attributes",
    "aggregate_by",
    "group_by",
)
_NEAREST: Final = frozenset({"ANN", "kNN"})
_SET_FILTERS: Final = frozenset({"In", "NotIn", "ContainsAny", "NotContainsAny"})
"""Filters may stand in `rank_by` as scores; these take lists that may look like vectors."""

_SHAPE = re.compile(r"f32(\[\d+\])+")
"""Callers may send a vector's shape for a vector, as the gateway's tap does."""

_NUMBER_TYPES: Final = frozenset({int, float})
_NOTHING_ELIDED: Final = ElidedJson(b"")
_UNKNOWN: Final = "f32[?]"


def summarise_query(
    request: Mapping[str, Any], elided: ElidedJson = _NOTHING_ELIDED
) -> dict[str, Any]:
    """The summary of a decoded request body; `elided` knows what its marked strings stand for."""
    return _Summariser(elided).query(request)


def find_query_text(request: Mapping[str, Any]) -> str | None:
    """The text of the first BM25 in the query, or in the first sub-query that has one."""
    text = _bm25_text(request.get("rank_by"))
    queries = request.get("queries")
    if text is None and isinstance(queries, list):
        found = (find_query_text(query) for query in queries if isinstance(query, dict))
        text = next((text for text in found if text is not None), None)
    return text


class _Summariser:
    def __init__(self, elided: ElidedJson) -> None:
        self._elided = elided
        self._unseen = len(elided.arrays)
        """Arrays that may stand elsewhere than in vectors."""
        self._first_shape: str | None = None

    def query(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._first_shape = None
        summary: dict[str, Any] = {}
        vector = self._shape(request["vector"]) if request.get("vector") is not None else None
        rank_by = self._ranked(request["rank_by"]) if "rank_by" in request else None
        if vector or self._first_shape:
            summary["vector"] = vector or self._first_shape
        if "rank_by" in request:
            summary["rank_by"] = rank_by
        for name in _AS_SENT:
            if name in request:
                summary[name] = self._as_sent(request[name])
        queries = request.get("queries")
        if isinstance(queries, list):
            summary["queries"] = [self.query(q) for q in queries if isinstance(q, dict)]
        return summary

    def _ranked(self, node: Any) -> Any:  # noqa: ANN401 - any JSON value
        """`rank_by` or a part of it, vectors replaced."""
        if isinstance(node, dict):
            return {name: self._ranked(value) for name, value in node.items()}
        if self._elided.array(node) is not None or _is_numbers(node):
            return self._note(self._shape(node))
        if not isinstance(node, list):
            return node
        if len(node) > 2 and isinstance(node[1], str):
            if node[1] in _NEAREST and not _is_embedding(node[2]):
                rest = [self._ranked(option) for option in node[3:]]
                return [node[0], node[1], self._note(self._shape(node[2])), *rest]
            if node[1] in _SET_FILTERS:
                return self._as_sent(node)
        return [self._ranked(element) for element in node]

    def _note(self, shape: str) -> str:
        self._first_shape = self._first_shape or shape
        return shape

    def _shape(self, vector: Any) -> str:  # noqa: ANN401 - any JSON value
        array = self._elided.array(vector)
        if array is not None:
            self._unseen -= 1
            return f"f32[{array.length}]" if array.whole else _UNKNOWN
        if isinstance(vector, str):
            return vector if _SHAPE.fullmatch(vector) else _shape_of_base64(vector)
        if not isinstance(vector, list):
            return _UNKNOWN
        if not vector or _is_numbers(vector):
            return f"f32[{len(vector)}]"
        inner = {self._shape(element) for element in vector}
        shape = inner.pop() if len(inner) == 1 else _UNKNOWN
        return f"f32[{len(vector)}]{shape.removeprefix('f32')}"

    def _as_sent(self, node: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The value, elided arrays put back."""
        if not self._unseen:
            return node
        if isinstance(node, list):
            return [self._as_sent(element) for element in node]
        if isinstance(node, dict):
            return {name: self._as_sent(value) for name, value in node.items()}
        array = self._elided.array(node)
        if array is None:
            return node
        self._unseen -= 1
        return _values(array)


def _values(array: NumberArray) -> list[Any] | str:
    return array.values() if array.whole else "[...]"


def _is_numbers(node: object) -> bool:
    # JSON makes no subclasses of int and float, but bool is one.
    return isinstance(node, list) and bool(node) and _NUMBER_TYPES.issuperset(map(type, node))


def _is_embedding(node: object) -> bool:
    """Text that the upstream embeds: `["Embed", "text", ...]`."""
    return isinstance(node, list) and bool(node) and node[0] == "Embed"


def _shape_of_base64(text: str) -> str:
    """Little-endian 32-bit floats in base64: four bytes an element."""
    data_bytes = len(text.rstrip("=")) * 3 // 4
    return f"f32[{data_bytes // 4}]" if data_bytes and data_bytes % 4 == 0 else _UNKNOWN


def _bm25_text(node: object) -> str | None:
    if not isinstance(node, list):
        return None
    if len(node) > 2 and node[1] == "BM25":
        return _joined(node[2])
    for element in node:
        # (Most elements are the numbers of a vector.)
        text = _bm25_text(element) if isinstance(element, list) else None
        if text is not None:
            return text
    return None


def _joined(query: object) -> str | None:
    if isinstance(query, str):
        return query
    if isinstance(query, list):
        return " ".join(token for token in query if isinstance(token, str)) or None
    return None
