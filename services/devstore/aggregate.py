"""`aggregate_by` and `group_by`, with the service's silent cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from services.devstore.database import NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.filters import Predicate, TextIndexes, compile_filter

__all__ = ["MAX_GROUPS", "aggregate"]

MAX_GROUPS: Final = 10_000
_MAX_AGGREGATES: Final = 8
_KNOWN: Final = ("aggregate_by", "filters", "group_by", "top_k")


def aggregate(
    cursor: duckdb.DuckDBPyConnection,
    state: NamespaceState,
    request: Mapping[str, Any],
    text_indexes: TextIndexes,
) -> dict[str, Any]:
    """`aggregations`, or `aggregation_groups` in key order with the null group first; of more
    than `top_k` groups the first are answered, without a word.

    Raises:
        DevstoreError: 400 or 422. `limit` is 422, as it is by the service.
    """
    for key in request:
        if key not in _KNOWN:
            expected = ", ".join(f"`{name}`" for name in _KNOWN)
            raise DevstoreError.unreadable(f"unknown field `{key}`, expected one of {expected}")
    labels = _aggregates(state, request["aggregate_by"])
    where = Predicate("true")
    if request.get("filters") is not None:
        where = compile_filter(state.schema, request["filters"], text_indexes)
    group_by = request.get("group_by") or []
    if not isinstance(group_by, list):
        raise DevstoreError.unreadable("group_by: invalid type, expected a sequence")
    top_k = request.get("top_k")
    if not group_by:
        if top_k is not None:
            raise DevstoreError.bad_request("top_k requires a group_by")
        sql = f"SELECT {', '.join(labels.values())} FROM {state.table} WHERE {where.sql}"  # noqa: S608
        row = cursor.execute(sql, where.values).fetchone() or ()
        return {"aggregations": dict(zip(labels, row, strict=True))}
    top_k = MAX_GROUPS if top_k is None else top_k
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 0 <= top_k <= MAX_GROUPS:
        raise DevstoreError.bad_request(f"top_k must be 0 to {MAX_GROUPS}")
    return {"aggregation_groups": _groups(cursor, state, labels, where, group_by, top_k)}


def _aggregates(state: NamespaceState, aggregate_by: object) -> dict[str, str]:
    """SQL by label."""
    if not isinstance(aggregate_by, Mapping):
        raise DevstoreError.unreadable("aggregate_by: invalid type, expected a map")
    if not 1 <= len(aggregate_by) <= _MAX_AGGREGATES:
        raise DevstoreError.bad_request(f"1 to {_MAX_AGGREGATES} aggregates")
    return {label: _aggregate_sql(state, function) for label, function in aggregate_by.items()}


def _aggregate_sql(state: NamespaceState, function: object) -> str:
    """Sums are exact in 64 bits; a larger one is DuckDB's conversion error."""
    if function in (["Count"], ["Count", "id"]):
        return "count(*)"
    if isinstance(function, list) and len(function) == 2 and function[0] == "Sum":
        attribute = state.schema.get(function[1])
        if attribute.type in ("int", "uint", "float"):
            return f"coalesce(sum({attribute.column}), 0)::{attribute.sql_type}"
    raise DevstoreError.bad_request(f"unsupported aggregate {str(function)[:100]}")


@dataclass(frozen=True)
class _Key:
    """What rows are grouped by: its name in the answer and its SQL."""

    name: str
    sql: str
    is_each: bool = False


def _key(state: NamespaceState, item: object) -> _Key:
    if isinstance(item, str):
        attribute = state.schema.get(item)
        if item == "id" or attribute.is_array or attribute.vector_dimensions:
            raise DevstoreError.bad_request(f"cannot group by {attribute.type} {item!r}")
        return _Key(item, attribute.column)
    if not isinstance(item, Mapping) or len(item) != 1:
        raise DevstoreError.unreadable("group_by: expected an attribute or a map of one label")
    ((alias, function),) = item.items()
    if not isinstance(function, list) or len(function) != 2 or function[0] != "ForEachUnique":
        raise DevstoreError.bad_request(f"unsupported group_by {str(function)[:100]}")
    attribute = state.schema.get(function[1])
    if not attribute.is_array:
        raise DevstoreError.bad_request("ForEachUnique takes an array attribute")
    # A document without the attribute is one null group; an empty array is none.
    column = attribute.column
    elements = f"CASE WHEN {column} IS NULL THEN [NULL] ELSE list_distinct({column}) END"
    return _Key(alias, f"unnest({elements})", is_each=True)


def _groups(
    cursor: duckdb.DuckDBPyConnection,
    state: NamespaceState,
    labels: Mapping[str, str],
    where: Predicate,
    group_by: Sequence[Any],
    top_k: int,
) -> list[dict[str, Any]]:
    keys = [_key(state, item) for item in group_by]
    if sum(key.is_each for key in keys) > 1:
        raise DevstoreError.bad_request("group_by takes at most one ForEachUnique")
    names = [key.name for key in keys]
    if len({*names, *labels}) < len(names) + len(labels):
        raise DevstoreError.bad_request("names of groups and aggregates must differ")
    listed = ", ".join(f"{key.sql} AS k{at}" for at, key in enumerate(keys))
    grouped = ", ".join(f"k{at}" for at in range(len(keys)))
    order = ", ".join(f"k{at} ASC NULLS FIRST" for at in range(len(keys)))
    rows = cursor.execute(
        f"SELECT {grouped}, {', '.join(labels.values())} FROM "  # noqa: S608 - our own names
        f"(SELECT *, {listed} FROM {state.table} WHERE {where.sql}) "
        f"GROUP BY {grouped} ORDER BY {order} LIMIT {top_k}",
        where.values,
    ).fetchall()
    return [dict(zip([*names, *labels], row, strict=True)) for row in rows]
