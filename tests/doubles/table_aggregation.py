"""Aggregations over rows in memory, as turbopuffer.com/docs/query describes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from services.upstream.vector_store import UpstreamRejectedError

__all__ = ["aggregate"]

_KEYS = {"aggregate_by", "group_by", "top_k", "filters"}


def aggregate(
    rows: Sequence[Mapping[str, Any]],
    query: Mapping[str, Any],
    schema: Mapping[str, Mapping[str, str]],
    group_cap: int,
) -> dict[str, Any]:
    """The answer to an aggregation over the rows that match. Groups beyond `top_k`, or beyond
    the cap, are cut off without a word."""
    unknown = set(query) - _KEYS
    if unknown:
        raise UpstreamRejectedError(422, f"unknown field {unknown}, expected one of {_KEYS}")
    [(label, function)] = query["aggregate_by"].items()
    assert function == ["Count"]
    if not query.get("group_by"):
        return {"aggregations": {label: len(rows)}}
    [by] = query["group_by"]
    if isinstance(by, dict):
        [(key, (function, attribute))] = by.items()
        assert function == "ForEachUnique"
    else:
        key = attribute = by
    _check(key, attribute, label, is_each=isinstance(by, dict), schema=schema)
    counts: Counter[Any] = Counter()
    for row in rows:
        value = row.get(attribute)
        counts.update(set(value) if isinstance(value, list) else {value})
    keys = sorted(counts, key=lambda each: (each is not None, 0 if each is None else each))
    cut = min(query.get("top_k", group_cap), group_cap)
    return {"aggregation_groups": [{key: each, label: counts[each]} for each in keys[:cut]]}


def _check(
    key: str, attribute: str, label: str, *, is_each: bool, schema: Mapping[str, Mapping[str, str]]
) -> None:
    if attribute == "id":
        raise UpstreamRejectedError(400, "cannot group by id")
    if attribute not in schema:
        raise UpstreamRejectedError(400, f"attribute not found: {attribute}")
    if key == label:
        raise UpstreamRejectedError(400, f"label {label} collides with a group's name")
    if is_each != schema[attribute]["type"].startswith("[]"):
        raise UpstreamRejectedError(400, f"cannot group by {attribute} that way")
