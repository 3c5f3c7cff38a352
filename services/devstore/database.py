"""The DuckDB file: a catalogue of namespaces and one table for each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import duckdb
import msgspec

from services.core.clock import Clock
from services.devstore.errors import DevstoreError
from services.devstore.schema import Attribute, Schema
from services.devstore.text_index import TextIndex
from services.devstore.values import stored_value

__all__ = ["Database", "NamespaceState"]

_CATALOGUE: Final = """
CREATE SEQUENCE IF NOT EXISTS tables;
CREATE TABLE IF NOT EXISTS namespaces (
    name VARCHAR, table_name VARCHAR, attributes VARCHAR, distance_metric VARCHAR,
    created_ns BIGINT, updated_ns BIGINT, written_ns BIGINT, read_only BOOLEAN
)
"""


@dataclass(frozen=True)
class NamespaceState:
    """A namespace as the catalogue has it. Times are epoch nanoseconds, and no two changes of a
    namespace have the same."""

    name: str
    table: str
    schema: Schema
    created_ns: int
    updated_ns: int
    written_ns: int
    read_only: bool = False


class Database:
    """One writer at a time; readers each see one state of all tables. Commits are durable.

    The catalogue is read inside each transaction, so that a namespace's schema and times are
    those of the rows that the same transaction sees.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = duckdb.connect(str(folder / "devstore.duckdb"))
        self._connection.execute(_CATALOGUE)
        self._clock = clock
        self._write_lock = threading.Lock()
        self._text_indexes: dict[tuple[str, str], tuple[int, TextIndex]] = {}

    def close(self) -> None:
        """Write the log into the file and let go of it; waits for the writer."""
        with self._write_lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on one state of everything."""
        cursor = self._connection.cursor()
        try:
            cursor.begin()
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection of the one writer; all or nothing is kept."""
        with self._write_lock:
            cursor = self._connection.cursor()
            try:
                cursor.begin()
                yield cursor
                cursor.commit()
            finally:
                cursor.close()

    def names(
        self, cursor: duckdb.DuckDBPyConnection, prefix: str, after: str, count: int
    ) -> list[str]:
        """The first namespaces after a name, in order."""
        rows = cursor.execute(
            "SELECT name FROM namespaces WHERE starts_with(name, ?) AND name > ? "
            "ORDER BY name LIMIT ?",
            [prefix, after, count],
        ).fetchall()
        return [row[0] for row in rows]

    def find(self, cursor: duckdb.DuckDBPyConnection, name: str) -> NamespaceState | None:
        """A namespace, None when it was never written or is deleted."""
        row = cursor.execute("SELECT * FROM namespaces WHERE name = ?", [name]).fetchone()
        if row is None:
            return None
        _, table, attributes, metric, created, updated, written, read_only = row
        loaded = msgspec.json.decode(attributes, type=list[Attribute])
        schema = Schema({a.name: a for a in loaded}, metric)
        return NamespaceState(name, table, schema, created, updated, written, read_only)

    def get(self, cursor: duckdb.DuckDBPyConnection, name: str) -> NamespaceState:
        """A namespace.

        Raises:
            DevstoreError: 404.
        """
        state = self.find(cursor, name)
        if state is None:
            raise DevstoreError.not_found(name)
        return state

    def count(self, cursor: duckdb.DuckDBPyConnection, state: NamespaceState) -> int:
        """How many rows a namespace has."""
        row = cursor.execute(f"SELECT count(*) FROM {state.table}").fetchone()  # noqa: S608
        return int(row[0]) if row else 0

    def create(
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: str,
        schema: Schema,
        source: NamespaceState | None = None,
    ) -> NamespaceState:
        """A new namespace with its table, and the rows of another with that schema."""
        row = cursor.execute("SELECT nextval('tables')").fetchone()
        assert row is not None
        now_ns = self._clock.now_ns()
        state = NamespaceState(name, f"t{row[0]}", schema, now_ns, now_ns, now_ns)
        columns = ", ".join(f"{a.column} {a.sql_type}" for a in schema.attributes.values())
        cursor.execute(f"CREATE TABLE {state.table} ({columns})")
        if source is not None:
            cursor.execute(f"INSERT INTO {state.table} SELECT * FROM {source.table}")  # noqa: S608
        return state

    def alter(
        self, cursor: duckdb.DuckDBPyConnection, state: NamespaceState, schema: Schema
    ) -> NamespaceState:
        """The namespace with a schema that has more attributes or other options."""
        for name, attribute in schema.attributes.items():
            if name not in state.schema.attributes:
                cursor.execute(
                    f"ALTER TABLE {state.table} ADD COLUMN {attribute.column} {attribute.sql_type}"
                )
        return replace(state, schema=schema, updated_ns=self._next_ns(state))

    def save(
        self, cursor: duckdb.DuckDBPyConnection, state: NamespaceState, *, written: bool
    ) -> None:
        """Put the catalogue's entry into the transaction; `written` moves the times of data."""
        if written:
            now_ns = self._next_ns(state)
            state = replace(state, updated_ns=now_ns, written_ns=now_ns)
        cursor.execute("DELETE FROM namespaces WHERE name = ?", [state.name])
        cursor.execute(
            "INSERT INTO namespaces VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                state.name,
                state.table,
                msgspec.json.encode(list(state.schema.attributes.values())).decode(),
                state.schema.distance_metric,
                state.created_ns,
                state.updated_ns,
                state.written_ns,
                state.read_only,
            ],
        )

    def _next_ns(self, state: NamespaceState) -> int:
        """Now, but after the last change even when the clock was set back."""
        return max(self._clock.now_ns(), state.updated_ns + 1)

    def drop(self, name: str) -> None:
        """Delete a namespace.

        Raises:
            DevstoreError: 404.
        """
        with self.writing() as cursor:
            state = self.get(cursor, name)
            cursor.execute(f"DROP TABLE {state.table}")
            cursor.execute("DELETE FROM namespaces WHERE name = ?", [name])
        for key in [key for key in self._text_indexes.copy() if key[0] == state.table]:
            self._text_indexes.pop(key, None)

    def insert(
        self,
        cursor: duckdb.DuckDBPyConnection,
        state: NamespaceState,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add rows, as one JSON text that DuckDB reads by itself: values bound one by one are
        twenty times as slow.

        Raises:
            DevstoreError: 400, a value is not of its attribute's type, or too large.
        """
        attributes = list(state.schema.attributes.values())
        data = msgspec.json.encode(
            [{a.column: stored_value(a, row.get(a.name)) for a in attributes} for row in rows]
        )
        structure = msgspec.json.encode([{a.column: a.json_structure for a in attributes}])
        columns = ", ".join(f"r.{a.column}::{a.sql_type}" for a in attributes)
        cursor.execute(
            f"INSERT INTO {state.table} SELECT {columns} FROM "  # noqa: S608 - our own names
            f"(SELECT unnest(json_transform_strict(?::JSON, '{structure.decode()}')) AS r)",
            [data.decode()],
        )

    def text_index(
        self, cursor: duckdb.DuckDBPyConnection, state: NamespaceState, attribute: Attribute
    ) -> TextIndex:
        """The text index of an attribute, made when a query first needs it after a change. For
        readers: what a transaction has not yet committed is not for others to see."""
        key = (state.table, attribute.name)
        updated_ns, index = self._text_indexes.get(key, (-1, None))
        if index is None or updated_ns != state.updated_ns:
            index = self.new_text_index(cursor, state, attribute)
            self._text_indexes[key] = (state.updated_ns, index)
        return index

    def new_text_index(
        self, cursor: duckdb.DuckDBPyConnection, state: NamespaceState, attribute: Attribute
    ) -> TextIndex:
        """The text index of what the cursor sees now.

        Raises:
            DevstoreError: 400, the attribute is not for full-text search.
        """
        if attribute.full_text is None:
            raise DevstoreError.bad_request(
                f"attribute {attribute.name!r} is not for full_text_search"
            )
        rows = cursor.execute(
            f"SELECT {state.schema.identity.column}, {attribute.column} "  # noqa: S608
            f"FROM {state.table} WHERE {attribute.column} IS NOT NULL"
        ).fetchall()
        return TextIndex(attribute.full_text, rows)
