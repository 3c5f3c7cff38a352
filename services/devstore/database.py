"""The DuckDB file: a catalogue of namespaces and one table for each."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from services.core.clock import Clock
from services.devstore.errors import DevstoreError
from services.devstore.schema import Attribute, Schema, column_value
from services.devstore.text_index import TextIndex

__all__ = ["Database", "NamespaceState"]

_CATALOGUE = """
CREATE SEQUENCE IF NOT EXISTS tables;
CREATE TABLE IF NOT EXISTS namespaces (
    name VARCHAR, table_name VARCHAR, attributes VARCHAR, distance_metric VARCHAR,
    created_ns BIGINT, updated_ns BIGINT, written_ns BIGINT, read_only BOOLEAN
)
"""


@dataclass(frozen=True)
class NamespaceState:
    """A namespace as the catalogue has it. Times are epoch nanoseconds; `version` counts writes."""

    name: str
    table: str
    schema: Schema
    created_ns: int
    updated_ns: int
    written_ns: int
    read_only: bool = False
    version: int = 0
    text_indexes: dict[str, tuple[int, TextIndex]] = field(default_factory=dict, compare=False)


class Database:
    """One writer at a time; readers each see one state of all tables. Commits are durable."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._connection = duckdb.connect(str(folder / "devstore.duckdb"))
        self._connection.execute(_CATALOGUE)
        self._clock = clock
        self._write_lock = threading.Lock()
        self._namespaces = {state.name: state for state in self._load()}

    def close(self) -> None:
        """Write the log into the file and let go of it."""
        self._connection.close()

    def names(self) -> Sequence[str]:
        """All namespaces, in order."""
        return sorted(self._namespaces)

    def find(self, name: str) -> NamespaceState | None:
        """A namespace, None when it was never written or is deleted."""
        return self._namespaces.get(name)

    def get(self, name: str) -> NamespaceState:
        """A namespace.

        Raises:
            DevstoreError: 404.
        """
        state = self.find(name)
        if state is None:
            raise DevstoreError.not_found(name)
        return state

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

    def create(
        self, cursor: duckdb.DuckDBPyConnection, name: str, schema: Schema
    ) -> NamespaceState:
        """A new namespace with its table; it is known once `remember` is called."""
        row = cursor.execute("SELECT nextval('tables')").fetchone()
        assert row is not None
        now_ns = self._clock.now_ns()
        state = NamespaceState(name, f"t{row[0]}", schema, now_ns, now_ns, now_ns)
        columns = ", ".join(f"{a.column} {a.sql_type}" for a in schema.attributes.values())
        cursor.execute(f"CREATE TABLE {state.table} ({columns})")
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
        return replace(state, schema=schema, updated_ns=self._clock.now_ns())

    def save(
        self, cursor: duckdb.DuckDBPyConnection, state: NamespaceState, *, written: bool
    ) -> NamespaceState:
        """Put the catalogue's entry into the transaction."""
        if written:
            now_ns = self._clock.now_ns()
            state = replace(state, updated_ns=now_ns, written_ns=now_ns, version=state.version + 1)
        cursor.execute("DELETE FROM namespaces WHERE name = ?", [state.name])
        cursor.execute(
            "INSERT INTO namespaces VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                state.name,
                state.table,
                msgspec.json.encode([asdict(a) for a in state.schema.attributes.values()]).decode(),
                state.schema.distance_metric,
                state.created_ns,
                state.updated_ns,
                state.written_ns,
                state.read_only,
            ],
        )
        return state

    def remember(self, state: NamespaceState) -> None:
        """Let readers see a namespace whose transaction has been committed."""
        self._namespaces[state.name] = state

    def drop(self, name: str) -> None:
        """Delete a namespace.

        Raises:
            DevstoreError: 404.
        """
        with self.writing() as cursor:
            state = self.get(name)
            cursor.execute(f"DROP TABLE {state.table}")
            cursor.execute("DELETE FROM namespaces WHERE name = ?", [name])
            del self._namespaces[name]

    def insert(
        self,
        cursor: duckdb.DuckDBPyConnection,
        state: NamespaceState,
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add rows, as one JSON text that DuckDB reads by itself: values bound one by one are
        twenty times as slow."""
        attributes = list(state.schema.attributes.values())
        data = msgspec.json.encode(
            [{a.column: column_value(a, row.get(a.name)) for a in attributes} for row in rows]
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
        """The BM25 index of an attribute, made when a query first needs it after a write."""
        version, index = state.text_indexes.get(attribute.name, (-1, None))
        if index is None or version != state.version:
            rows = cursor.execute(
                f"SELECT rowid, {attribute.column} FROM {state.table} "  # noqa: S608
                f"WHERE {attribute.column} IS NOT NULL"
            ).fetchall()
            index = TextIndex(rows)
            state.text_indexes[attribute.name] = (state.version, index)
        return index

    def _load(self) -> Iterator[NamespaceState]:
        for row in self._connection.execute("SELECT * FROM namespaces").fetchall():
            name, table, attributes, metric, created, updated, written, read_only = row
            loaded = [Attribute(**entry) for entry in msgspec.json.decode(attributes)]
            schema = Schema({a.name: a for a in loaded}, metric)
            yield NamespaceState(name, table, schema, created, updated, written, read_only)
