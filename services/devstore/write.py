"""`POST /v2/namespaces/{namespace}`: upserts, patches and deletes, all or nothing.

The order inside a request is delete_by_filter, patch_by_filter, then the rest
(turbopuffer.com/docs/write).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import duckdb

from services.devstore.database import Database, NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.filters import compile_filter
from services.devstore.schema import Attribute, Schema, column_value, infer_type, merge_schema

__all__ = ["WriteCounts", "write"]

_METRICS: Final = ("cosine_distance", "euclidean_squared")
_KNOWN: Final = frozenset(
    {
        "upsert_rows", "upsert_columns", "patch_rows", "patch_columns", "deletes",
        "delete_by_filter", "delete_by_filter_allow_partial", "patch_by_filter",
        "patch_by_filter_allow_partial", "schema", "distance_metric", "return_affected_ids",
        "disable_backpressure", "encryption", "create_namespace",
    }
)  # fmt: skip


@dataclass
class WriteCounts:
    """What a request did."""

    upserted: int = 0
    patched: int = 0
    deleted: int = 0


def write(database: Database, name: str, request: Mapping[str, Any]) -> WriteCounts:
    """Carry out one write request durably.

    Raises:
        DevstoreError: 400, 404 or 422; nothing was changed.
    """
    unknown = sorted(set(request) - _KNOWN)
    if unknown:
        raise DevstoreError.unreadable(f"unknown field `{unknown[0]}`")
    upserts = [*request.get("upsert_rows", ()), *_rows(request.get("upsert_columns", {}))]
    patches = [*request.get("patch_rows", ()), *_rows(request.get("patch_columns", {}))]
    _check_ids([*(row.get("id") for row in (*upserts, *patches)), *request.get("deletes", ())])
    counts = WriteCounts()
    with database.writing() as cursor:
        state = _prepared(database, cursor, name, request, [*upserts, *patches])
        if "delete_by_filter" in request:
            counts.deleted += _delete_by_filter(cursor, state, request["delete_by_filter"])
        if "patch_by_filter" in request:
            counts.patched += _patch_by_filter(database, cursor, state, request["patch_by_filter"])
        counts.deleted += _delete(cursor, state, request.get("deletes", ()))
        if upserts:
            _delete(cursor, state, [row["id"] for row in upserts])
            database.insert(cursor, state, upserts)
            counts.upserted = len(upserts)
        counts.patched += _patch(database, cursor, state, patches)
        state = database.save(cursor, state, written=True)
    database.remember(state)
    return counts


def _rows(columns: Mapping[str, Sequence[Any]]) -> Iterable[dict[str, Any]]:
    """Rows of a columnar request."""
    if len({len(column) for column in columns.values()}) > 1:
        raise DevstoreError.bad_request("columns have different lengths")
    return (
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    )


def _check_ids(ids: Sequence[Any]) -> None:
    if any(value is None for value in ids):
        raise DevstoreError.bad_request("every row needs an id")
    if len({(type(value), value) for value in ids}) < len(ids):
        raise DevstoreError.bad_request("duplicate document ids in one request")


def _prepared(
    database: Database,
    cursor: duckdb.DuckDBPyConnection,
    name: str,
    request: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
) -> NamespaceState:
    """The namespace with every attribute that the request needs; made if it is new."""
    state = database.find(name)
    schema = state.schema if state else Schema({})
    declared = dict(request.get("schema") or {})
    known = set(schema.attributes) | set(declared)
    for row in rows:
        for attribute, value in row.items():
            if attribute not in known and value is not None:
                declared[attribute] = infer_type(attribute, value)
                known.add(attribute)
    if "id" not in known:
        deletes = request.get("deletes")
        if not deletes and not request.get("create_namespace"):
            raise DevstoreError.not_found(name)
        declared["id"] = infer_type("id", deletes[0]) if deletes else "uint"
    merged = merge_schema(schema, declared)
    merged = _with_metric(merged, request.get("distance_metric"))
    if state is None:
        return database.create(cursor, name, merged)
    if state.read_only:
        raise DevstoreError.bad_request(f"namespace '{name}' is read-only")
    return state if merged == schema else database.alter(cursor, state, merged)


def _with_metric(schema: Schema, metric: str | None) -> Schema:
    has_vectors = any(a.vector_dimensions for a in schema.attributes.values())
    if metric is None:
        if has_vectors and schema.distance_metric is None:
            raise DevstoreError.bad_request("distance_metric is required to write vectors")
        return schema
    if metric not in _METRICS:
        raise DevstoreError.bad_request(f"unknown distance_metric {metric!r}")
    if schema.distance_metric not in (None, metric):
        raise DevstoreError.bad_request("distance_metric cannot be changed")
    return replace(schema, distance_metric=metric)


def _ids(state: NamespaceState, ids: Sequence[Any]) -> tuple[str, list[Any]]:
    """A predicate for ids, and its value."""
    attribute = state.schema.get("id")
    values = [column_value(attribute, value) for value in ids]
    return f"{attribute.column} IN (SELECT unnest(?::{attribute.sql_type}[]))", [values]


def _delete(cursor: duckdb.DuckDBPyConnection, state: NamespaceState, ids: Sequence[Any]) -> int:
    """Delete by id; a missing id counts as deleted, as the service counts it."""
    if ids:
        predicate, values = _ids(state, ids)
        cursor.execute(f"DELETE FROM {state.table} WHERE {predicate}", values)  # noqa: S608
    return len(ids)


def _delete_by_filter(
    cursor: duckdb.DuckDBPyConnection, state: NamespaceState, expression: object
) -> int:
    predicate = compile_filter(state.schema, expression)
    sql = f"DELETE FROM {state.table} WHERE {predicate.sql}"  # noqa: S608 - values are bound
    return _affected(cursor.execute(sql, predicate.values))


def _patch_by_filter(
    database: Database,
    cursor: duckdb.DuckDBPyConnection,
    state: NamespaceState,
    request: Mapping[str, Any],
) -> int:
    predicate = compile_filter(state.schema, request["filters"])
    id_column = state.schema.get("id").column
    sql = f"SELECT {id_column} FROM {state.table} WHERE {predicate.sql}"  # noqa: S608
    ids = [row[0] for row in cursor.execute(sql, predicate.values).fetchall()]
    return _patch(database, cursor, state, [{**request["patch"], "id": each} for each in ids])


def _patch(
    database: Database,
    cursor: duckdb.DuckDBPyConnection,
    state: NamespaceState,
    patches: Sequence[Mapping[str, Any]],
) -> int:
    """Overlay attributes on rows that exist; patches of missing ids are ignored."""
    if not patches:
        return 0
    if any(state.schema.get(n).vector_dimensions for patch in patches for n in patch):
        raise DevstoreError.bad_request("vectors cannot be patched")
    attributes = list(state.schema.attributes.values())
    predicate, values = _ids(state, [patch["id"] for patch in patches])
    columns = ", ".join(a.column for a in attributes)
    found = cursor.execute(
        f"SELECT {columns} FROM {state.table} WHERE {predicate}",  # noqa: S608
        values,
    ).fetchall()
    rows = {row[_position(attributes, "id")]: _row(attributes, row) for row in found}
    id_attribute = state.schema.get("id")
    for patch in patches:
        existing = rows.get(column_value(id_attribute, patch["id"]))
        if existing is not None:
            existing.update(patch)
    _delete(cursor, state, list(rows))
    database.insert(cursor, state, list(rows.values()))
    return len(rows)


def _row(attributes: Sequence[Attribute], values: Sequence[Any]) -> dict[str, Any]:
    """A stored row as an upsert would have it."""
    pairs = zip(attributes, values, strict=True)
    return {a.name: list(v) if isinstance(v, tuple) else v for a, v in pairs}


def _position(attributes: Sequence[Attribute], name: str) -> int:
    return next(at for at, attribute in enumerate(attributes) if attribute.name == name)


def _affected(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    return int(row[0]) if row else 0
