"""`aggregate_by` and `group_by`, with the service's silent cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import duckdb

from services.devstore.database import NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.filters import Predicate, compile_filter

__all__ = ["MAX_GROUPS", "aggregate"]

MAX_GROUPS: Final = 10_000
_MAX_AGGREGATES: Final = 8
_KNOWN: Final = ("aggregate_by", "filters", "group_by", "top_k")


def aggregate(
    cursor: duckdb.DuckDBPyConnection, state: NamespaceState, request: Mapping[str, Any]
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
        where = compile_filter(state.schema, request["filters"])
    group_by = request.get("group_by") or []
    top_k = request.get("top_k")
    if not group_by:
        if top_k is not None:
            raise DevstoreError.bad_request("top_k requires a group_by")
        sql = f"SELECT {', '.join(labels.values())} FROM {state.table} AS t WHERE {where.sql}"  # noqa: S608
        row = cursor.execute(sql, where.values).fetchone() or ()
        return {"aggregations": dict(zip(labels, row, strict=True))}
    top_k = MAX_GROUPS if top_k is None else top_k
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 0 <= top_k <= MAX_GROUPS:
        raise DevstoreError.bad_request(f"top_k must be 0 to {MAX_GROUPS}")
    return {"aggregation_groups": _groups(cursor, state, labels, where, group_by, top_k)}


def _aggregates(state: NamespaceState, aggregate_by: Mapping[str, Any]) -> dict[str, str]:
    """SQL by label."""
    if not 1 <= len(aggregate_by) <= _MAX_AGGREGATES:
        raise DevstoreError.bad_request(f"1 to {_MAX_AGGREGATES} aggregates")
    return {label: _aggregate_sql(state, function) for label, function in aggregate_by.items()}


def _aggregate_sql(state: NamespaceState, function: Sequence[Any]) -> str:
    if function and function[0] == "Count" and len(function) <= 2:
        return "count(*)"
    if len(function) == 2 and function[0] == "Sum":
        attribute = state.schema.get(function[1])
        if attribute.type in ("int", "uint", "float"):
            kind = "DOUBLE" if attribute.type == "float" else "BIGINT"
            return f"coalesce(sum(t.{attribute.column}), 0)::{kind}"
    raise DevstoreError.bad_request(f"unsupported aggregate {str(list(function))[:100]}")


def _groups(
    cursor: duckdb.DuckDBPyConnection,
    state: NamespaceState,
    labels: Mapping[str, str],
    where: Predicate,
    group_by: Sequence[Any],
    top_k: int,
) -> list[dict[str, Any]]:
    names: list[str] = []
    keys: list[str] = []
    source = f"{state.table} AS t"
    for item in group_by:
        if isinstance(item, Mapping):
            ((alias, function),) = item.items()
            attribute = state.schema.get(function[1])
            if function[0] != "ForEachUnique" or not attribute.is_array or "each" in keys:
                raise DevstoreError.bad_request("group_by takes one ForEachUnique of an array")
            # A document without the attribute is one null group; an empty array is none.
            elements = (
                f"CASE WHEN t.{attribute.column} IS NULL THEN [NULL] "
                f"ELSE list_distinct(t.{attribute.column}) END"
            )
            source += f", unnest({elements}) AS u(each)"
            names.append(alias)
            keys.append("each")
        else:
            attribute = state.schema.get(item)
            if item == "id" or attribute.is_array or attribute.vector_dimensions:
                raise DevstoreError.bad_request(f"cannot group by {attribute.type} {item!r}")
            names.append(item)
            keys.append(f"t.{attribute.column}")
    if len(set(names) | set(labels)) < len(names) + len(labels):
        raise DevstoreError.bad_request("names of groups and aggregates must differ")
    order = ", ".join(f"{at} ASC NULLS FIRST" for at in range(1, len(keys) + 1))
    rows = cursor.execute(
        f"SELECT {', '.join([*keys, *labels.values()])} FROM {source} WHERE {where.sql} "  # noqa: S608
        f"GROUP BY {', '.join(keys)} ORDER BY {order} LIMIT {top_k}",
        where.values,
    ).fetchall()
    return [dict(zip([*names, *labels], row, strict=True)) for row in rows]
