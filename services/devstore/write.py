"""`POST /v2/namespaces/{namespace}`: upserts, patches and deletes, all or nothing.

The order inside a request is delete_by_filter, patch_by_filter, then the rest
(turbopuffer.com/docs/write).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import duckdb

from services.devstore.conditions import conditions_of
from services.devstore.database import Database, NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.filters import Predicate, compile_filter
from services.devstore.infer import infer_types
from services.devstore.schema import Attribute, Schema, merge_schema
from services.devstore.text_index import TextIndex
from services.devstore.values import stored_value
from services.devstore.write_request import WriteRequest

__all__ = ["Written", "write"]


@dataclass
class Written:
    """The ids that a request touched. As the service counts them, an id that no document has was
    deleted too, unless the delete had a condition."""

    upserted: list[Any] = field(default_factory=list)
    patched: list[Any] = field(default_factory=list)
    deleted: list[Any] = field(default_factory=list)


def write(database: Database, name: str, request: WriteRequest) -> Written:
    """Carry out one write request durably.

    Raises:
        DevstoreError: 400, 404 or 422; nothing was changed.
    """
    with database.writing() as cursor:
        state = _prepared(database, cursor, name, request)
        written = _Writer(database, cursor, state).apply(request)
        database.save(cursor, state, written=request.has_data)
    return written


def _prepared(
    database: Database, cursor: duckdb.DuckDBPyConnection, name: str, request: WriteRequest
) -> NamespaceState:
    """The namespace with every attribute that the request needs; made if it is new."""
    state = database.find(cursor, name)
    source = request.source
    if source is not None:
        return _copied(database, cursor, name, state, source)
    schema = state.schema if state else Schema({})
    declared = dict(request.schema)
    patch = [request.patch_by_filter[1]] if request.patch_by_filter else []
    declared |= infer_types(
        [*schema.attributes, *declared], [*request.upserts, *request.patches, *patch]
    )
    if state is None:
        _check_creation(name, request, declared)
    merged = _with_metric(merge_schema(schema, declared), request.distance_metric)
    if state is None:
        return database.create(cursor, name, merged)
    if state.read_only:
        raise DevstoreError.bad_request(f"namespace '{name}' is read-only")
    return state if merged == schema else database.alter(cursor, state, merged)


def _check_creation(name: str, request: WriteRequest, declared: dict[str, Any]) -> None:
    """A namespace is made by documents, by deletes of ids or when asked to be empty."""
    if request.create_namespace is False:
        raise DevstoreError.not_found(name)
    if "id" not in declared and request.deletes:
        declared |= infer_types(declared, [{"id": request.deletes[0]}])
    if "id" not in declared and request.create_namespace:
        declared["id"] = "uint"
    if "id" not in declared or not (request.has_data or request.create_namespace):
        raise DevstoreError.not_found(name)


def _copied(
    database: Database,
    cursor: duckdb.DuckDBPyConnection,
    name: str,
    state: NamespaceState | None,
    source_name: str,
) -> NamespaceState:
    if state is not None:
        raise DevstoreError.bad_request(f"namespace '{name}' exists already")
    source = database.get(cursor, source_name)
    copy = database.create(cursor, name, source.schema, source)
    return replace(copy, read_only=source.read_only)


def _with_metric(schema: Schema, metric: str | None) -> Schema:
    has_vectors = any(a.vector_dimensions for a in schema.attributes.values())
    if metric is None:
        if has_vectors and schema.distance_metric is None:
            raise DevstoreError.bad_request("distance_metric is required to write vectors")
        return schema
    if schema.distance_metric not in (None, metric):
        raise DevstoreError.bad_request("distance_metric cannot be changed")
    return replace(schema, distance_metric=metric)


@dataclass(frozen=True)
class _Writer:
    """One request's changes in one transaction."""

    database: Database
    cursor: duckdb.DuckDBPyConnection
    state: NamespaceState

    def apply(self, request: WriteRequest) -> Written:
        upserts = [self._identified(row) for row in request.upserts]
        patches = [self._identified(row) for row in request.patches]
        deletes = [self._id(value) for value in request.deletes]
        ids = [*(row["id"] for row in (*upserts, *patches)), *deletes]
        if len(set(ids)) < len(ids):
            raise DevstoreError.bad_request("duplicate document ids in one request")
        written = self._by_filters(request)
        if request.delete_condition is not None:
            deletes = self._meeting(request.delete_condition, {each: {} for each in deletes})
        self._delete(deletes)
        written.deleted += deletes
        if request.upsert_condition is not None:
            upserts = self._new_or_meeting(request.upsert_condition, upserts)
        if upserts:
            written.upserted = [row["id"] for row in upserts]
            self._delete(written.upserted)
            self.database.insert(self.cursor, self.state, upserts)
        if request.patch_condition is not None:
            new = {row["id"]: row for row in patches}
            patches = [new[each] for each in self._meeting(request.patch_condition, new)]
        written.patched += self._patch(patches)
        return written

    def _by_filters(self, request: WriteRequest) -> Written:
        """Deletes, then patches, of the documents that match filters."""
        written = Written()
        if request.delete_by_filter is not None:
            written.deleted += self._matching(request.delete_by_filter)
            self._delete(written.deleted)
        if request.patch_by_filter is not None:
            filters, patch = request.patch_by_filter
            matching = self._matching(filters)
            written.patched += self._patch([{**patch, "id": each} for each in matching])
        return written

    def _identified(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row, its id as it is kept."""
        return {**row, "id": self._id(row.get("id"))}

    def _new_or_meeting(
        self, condition: object, upserts: Sequence[Mapping[str, Any]]
    ) -> list[Mapping[str, Any]]:
        """The upserts that are carried out: those of ids that no document has are, whatever the
        condition."""
        new = {row["id"]: row for row in upserts}
        meeting = set(self._meeting(condition, new))
        existing = set(self._found(Predicate("true"), list(new)))
        return [row for row in upserts if row["id"] in meeting or row["id"] not in existing]

    def _meeting(self, condition: object, new: Mapping[Any, Mapping[str, Any]]) -> list[Any]:
        """Ids of the documents that exist and meet a condition.

        Args:
            new: what is to be written, by id.
        """
        text_index = cache(self._text_index)
        return [
            each
            for asked, ids in conditions_of(self.state.schema, condition, new)
            for each in self._found(compile_filter(self.state.schema, asked, text_index), ids)
        ]

    def _id(self, value: object) -> Any:  # noqa: ANN401 - an int or a text
        if value is None:
            raise DevstoreError.bad_request("every document needs an id")
        return stored_value(self.state.schema.identity, value)

    def _matching(self, expression: object) -> list[Any]:
        """Ids of the documents that match a filter."""
        return self._found(compile_filter(self.state.schema, expression, self._text_index))

    def _text_index(self, attribute: Attribute) -> TextIndex:
        return self.database.new_text_index(self.cursor, self.state, attribute)

    def _found(self, predicate: Predicate, ids: Sequence[Any] | None = None) -> list[Any]:
        """Ids of the documents that a predicate is true of, of all or of some."""
        state = self.state
        where, values = predicate.sql, predicate.values
        if ids is not None:
            where, values = f"{self._among()} AND ({where})", [ids, *values]
        sql = f"SELECT {state.schema.identity.column} FROM {state.table} WHERE {where}"  # noqa: S608
        return [row[0] for row in self.cursor.execute(sql, values).fetchall()]

    def _delete(self, ids: Sequence[Any]) -> None:
        if ids:
            predicate = self._among()
            sql = f"DELETE FROM {self.state.table} WHERE {predicate}"  # noqa: S608
            self.cursor.execute(sql, [ids])

    def _among(self) -> str:
        """Documents whose ids are in the one bound list."""
        identity = self.state.schema.identity
        return f"{identity.column} IN (SELECT unnest(?::{identity.sql_type}[]))"

    def _patch(self, patches: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Overlay attributes on documents that exist; patches of others are ignored."""
        if not patches:
            return []
        schema = self.state.schema
        vectors = {name for name, a in schema.attributes.items() if a.vector_dimensions}
        if any(vectors & patch.keys() for patch in patches):
            raise DevstoreError.bad_request("vectors cannot be patched")
        attributes = list(schema.attributes.values())
        columns = ", ".join(a.column for a in attributes)
        found = self.cursor.execute(
            f"SELECT {columns} FROM {self.state.table} WHERE {self._among()}",  # noqa: S608
            [[patch["id"] for patch in patches]],
        ).fetchall()
        by_id = {row["id"]: row for row in (_document(attributes, values) for values in found)}
        for patch in patches:
            if patch["id"] in by_id:
                by_id[patch["id"]].update(patch)
        self._delete(list(by_id))
        if by_id:
            self.database.insert(self.cursor, self.state, list(by_id.values()))
        return list(by_id)


def _document(attributes: Sequence[Attribute], values: Sequence[Any]) -> dict[str, Any]:
    """A stored row as an upsert would have it."""
    pairs = zip(attributes, values, strict=True)
    return {a.name: list(v) if isinstance(v, tuple) else v for a, v in pairs}
