"""`POST /v2/namespaces/{namespace}/query`: ranked rows, aggregations, several at once."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np

from services.devstore.aggregate import aggregate
from services.devstore.database import Database, NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.filters import Predicate, compile_filter
from services.devstore.rank import Ranking, compile_ranking
from services.devstore.schema import Attribute

__all__ = ["query"]

_MAX_ROWS: Final = 10_000
_MAX_QUERIES: Final = 16
_ROOT_ONLY: Final = frozenset({"consistency", "vector_encoding"})
_KNOWN: Final = frozenset(
    {
        "rank_by", "top_k", "limit", "offset", "filters", "include_attributes",
        "exclude_attributes", "distance_metric", "vector",
    }
)  # fmt: skip


def query(database: Database, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer without its billing and performance blocks; several queries see one state.

    Raises:
        DevstoreError: 400, 404 or 422.
    """
    root = {key: value for key, value in request.items() if key not in _ROOT_ONLY}
    encoding = request.get("vector_encoding", "float")
    queries = root.get("queries")
    with database.reading() as cursor:
        state = database.get(name)
        run = _Run(database, cursor, state, encoding)
        if queries is None:
            return run.one(root)
        if set(root) != {"queries"} or not isinstance(queries, list):
            raise DevstoreError.unreadable("`queries` excludes the keys of a single query")
        if not 1 <= len(queries) <= _MAX_QUERIES:
            raise DevstoreError.bad_request(f"1 to {_MAX_QUERIES} queries, not {len(queries)}")
        return {"results": [run.one(each) for each in queries]}


@dataclass(frozen=True)
class _Run:
    """Queries of one request, on one state."""

    database: Database
    cursor: duckdb.DuckDBPyConnection
    state: NamespaceState
    encoding: str

    def one(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if "aggregate_by" in request:
            return aggregate(self.cursor, self.state, request)
        unknown = sorted(set(request) - _KNOWN)
        if unknown:
            raise DevstoreError.unreadable(f"unknown field `{unknown[0]}`")
        return {"rows": self._rows(request)}

    def _rows(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        limit, offset = _window(request)
        schema = self.state.schema
        rank_by = request.get("rank_by")
        if rank_by is None and "vector" in request:
            rank_by = ["vector", "ANN", request["vector"]]
        if rank_by is None:
            raise DevstoreError.bad_request("rank_by is required")
        where = Predicate("true")
        if request.get("filters") is not None:
            where = compile_filter(schema, request["filters"])
        ranking = compile_ranking(self.database, self.cursor, self.state, rank_by)
        wanted = _projection(self.state, request)
        found = self._select(ranking, where, wanted, limit, offset)
        return [self._row(wanted, values, ranking.is_scored) for values in found]

    def _select(
        self,
        ranking: Ranking,
        where: Predicate,
        wanted: Sequence[Attribute],
        limit: int,
        offset: int,
    ) -> list[tuple[Any, ...]]:
        columns = [*(attribute.column for attribute in wanted)]
        columns.append(f"{ranking.score} AS score" if ranking.is_scored else "NULL AS score")
        sql = (
            f"SELECT {', '.join(columns)} FROM {self.state.table} AS t {ranking.join} "  # noqa: S608
            f"WHERE ({where.sql}) AND ({ranking.where}) ORDER BY {ranking.order} "
            f"LIMIT {limit} OFFSET {offset}"
        )
        return self.cursor.execute(
            sql, [*ranking.score_values, *ranking.join_values, *where.values]
        ).fetchall()

    def _row(
        self, wanted: Sequence[Attribute], values: tuple[Any, ...], scored: bool
    ) -> dict[str, Any]:
        """A row as the service writes it: id, `$dist`, then attributes that are not null."""
        row: dict[str, Any] = {"id": values[0]}
        if scored:
            row["$dist"] = values[-1]
        for attribute, value in zip(wanted[1:], values[1:], strict=False):
            if value is not None:
                row[attribute.name] = self._value(attribute, value)
        return row

    def _value(self, attribute: Attribute, value: Any) -> Any:  # noqa: ANN401
        if attribute.vector_dimensions is None:
            return value
        if self.encoding == "base64":
            return base64.b64encode(np.asarray(value, dtype="<f4").tobytes()).decode()
        return list(value)


def _window(request: Mapping[str, Any]) -> tuple[int, int]:
    """Limit and offset."""
    limit = request.get("limit", request.get("top_k"))
    if "limit" in request and "top_k" in request:
        raise DevstoreError.bad_request("limit and top_k cannot be given together")
    if isinstance(limit, Mapping):
        if "per" in limit:
            raise DevstoreError.bad_request("limit.per is not available in the development store")
        limit = limit.get("total")
    offset = request.get("offset", 0)
    for name, value, least in (("limit", limit, 1), ("offset", offset, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise DevstoreError.bad_request(f"{name} must be an integer of at least {least}")
    if limit + offset > _MAX_ROWS:
        raise DevstoreError.bad_request(f"limit and offset are at most {_MAX_ROWS} together")
    return limit, offset


def _projection(state: NamespaceState, request: Mapping[str, Any]) -> list[Attribute]:
    """The attributes to answer; the id is always the first."""
    include, exclude = request.get("include_attributes"), request.get("exclude_attributes")
    if include is not None and exclude is not None:
        raise DevstoreError.bad_request("include_attributes excludes exclude_attributes")
    everything = [a for name, a in state.schema.attributes.items() if name != "id"]
    identity = state.schema.get("id")
    if exclude is not None:
        return [identity, *(a for a in everything if a.name not in exclude)]
    if include is True:
        return [identity, *everything]
    names = include or []
    return [identity, *(state.schema.get(name) for name in names if name != "id")]
