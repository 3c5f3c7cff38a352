"""`POST /v2/namespaces/{namespace}/query`: ranked rows, aggregations, several at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from services.devstore.aggregate import aggregate
from services.devstore.billing import answered_bytes
from services.devstore.database import Database, NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.filters import Predicate, compile_filter
from services.devstore.rank import Ranking, compile_ranking
from services.devstore.rerank import parse_rerank_by
from services.devstore.schema import Attribute
from services.devstore.text_index import TextIndex
from services.devstore.values import encode_vector

__all__ = ["Answer", "query"]

_MAX_ROWS: Final = 10_000
_MAX_QUERIES: Final = 16
_LEVELS: Final = ("strong", "eventual")
_ENCODINGS: Final = ("float", "base64")
_ROOT_ONLY: Final = frozenset({"consistency", "vector_encoding"})
_SEVERAL: Final = frozenset({"queries", "rerank_by"})
_RERANKED: Final = frozenset({*_SEVERAL, "limit", "offset"})
_KNOWN: Final = frozenset(
    {
        "rank_by", "top_k", "limit", "offset", "filters", "include_attributes",
        "exclude_attributes", "distance_metric", "vector",
    }
)  # fmt: skip
_IDLE: Final = ("compute_attributes", "include_leg_breakdown")
"""Taken as long as they ask for nothing. The latter is in every query of the hevlayer client."""


@dataclass(frozen=True)
class Answer:
    """The body without its billing and performance blocks, and what those tell."""

    body: dict[str, Any]
    returned_bytes: int
    row_count: int
    """Rows of the namespace."""
    written_ns: int
    """When the newest write that the query saw was made, in epoch nanoseconds."""


def query(database: Database, name: str, request: Mapping[str, Any]) -> Answer:
    """Carry out one query or several; several see one state.

    Raises:
        DevstoreError: 400, 404 or 422.
    """
    _check_consistency(request.get("consistency"))
    encoding = request.get("vector_encoding") or "float"
    if encoding not in _ENCODINGS:
        raise DevstoreError.unreadable(
            f"unknown variant `{encoding}`, expected one of `float`, `base64`"
        )
    root = {key: value for key, value in request.items() if key not in _ROOT_ONLY}
    with database.reading() as cursor:
        state = database.get(cursor, name)
        run = _Run(database, cursor, state, encoding)
        body = run.several(root) if "queries" in root else run.one(root)
        count = database.count(cursor, state)
    return Answer(body, answered_bytes(state.schema, body), count, state.written_ns)


def _check_consistency(consistency: object) -> None:
    if consistency is None:
        return
    if not isinstance(consistency, Mapping):
        kind = f'string "{consistency}"' if isinstance(consistency, str) else "value"
        raise DevstoreError.unreadable(
            f"consistency: invalid type: {kind}, expected struct Consistency"
        )
    level = consistency.get("level")
    if level not in _LEVELS:
        raise DevstoreError.unreadable(
            f"consistency.level: unknown variant `{level}`, expected `strong` or `eventual`"
        )


@dataclass(frozen=True)
class _Run:
    """Queries of one request, on one state."""

    database: Database
    cursor: duckdb.DuckDBPyConnection
    state: NamespaceState
    encoding: str

    def several(self, root: Mapping[str, Any]) -> dict[str, Any]:
        queries = root["queries"]
        rerank_by = root.get("rerank_by")
        known = _SEVERAL if rerank_by is None else _RERANKED
        if not set(root) <= known or not isinstance(queries, list):
            raise DevstoreError.unreadable("`queries` excludes the keys of a single query")
        if not 1 <= len(queries) <= _MAX_QUERIES:
            raise DevstoreError.bad_request(f"1 to {_MAX_QUERIES} queries, not {len(queries)}")
        if not all(isinstance(each, dict) for each in queries):
            raise DevstoreError.unreadable("queries: invalid type, expected a map")
        if rerank_by is None:
            return {"results": [self.one(each) for each in queries]}
        fusion = parse_rerank_by(rerank_by, queries)
        rows = fusion.fuse([self.one(each)["rows"] for each in queries])
        if "limit" in root or "offset" in root:
            window = _window(self.state, root)
            rows = rows[window.offset : window.offset + window.limit]
        return {"results": [{"rows": rows}]}

    def one(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if "aggregate_by" in request:
            return aggregate(self.cursor, self.state, request, self._text_index)
        if request.get("compute_attributes"):
            raise DevstoreError.unsupported("computed attributes")
        unknown = sorted(key for key in set(request) - _KNOWN if key not in _IDLE or request[key])
        if unknown:
            raise DevstoreError.unreadable(f"unknown field `{unknown[0]}`")
        return {"rows": self._rows(request)}

    def _text_index(self, attribute: Attribute) -> TextIndex:
        return self.database.text_index(self.cursor, self.state, attribute)

    def _rows(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        window = _window(self.state, request)
        rank_by = request.get("rank_by")
        if rank_by is None and "vector" in request:
            rank_by = ["vector", "ANN", request["vector"]]
        if rank_by is None:
            raise DevstoreError.bad_request("rank_by is required")
        where = Predicate("true")
        if request.get("filters") is not None:
            where = compile_filter(self.state.schema, request["filters"], self._text_index)
        elif isinstance(rank_by, list) and rank_by[1:2] == ["kNN"]:
            raise DevstoreError.bad_request("kNN requires filters")
        ranking = compile_ranking(self.database, self.cursor, self.state, rank_by)
        wanted = _projection(self.state, request)
        found = self._select(ranking, where, wanted, window)
        return self._answered(wanted, found, scored=ranking.is_scored)

    def _select(
        self, ranking: Ranking, where: Predicate, wanted: Sequence[Attribute], window: _Window
    ) -> list[tuple[Any, ...]]:
        """The rows are found by what they are ranked by alone, and read whole afterwards: a sort
        that carries every column of a million rows takes five times as long."""
        table = self.state.table
        identity, *others = (_selected(attribute, self.encoding) for attribute in wanted)
        columns = ", ".join([identity, "found.score", *others])
        # Ties are in the order of ids, so that pages by offset do not overlap.
        order = f"{ranking.order}, t.{self.state.schema.identity.column}"
        qualify = ""
        if window.per:
            parts = ", ".join(f"t.{attribute.column}" for attribute in window.per)
            qualify = (
                f"QUALIFY row_number() OVER (PARTITION BY {parts} ORDER BY {order}) "
                f"<= {window.per_limit}"
            )
        found = (
            f"SELECT t.rowid AS row, {ranking.score} AS score FROM {table} AS t "  # noqa: S608
            f"{ranking.join} WHERE ({where.sql}) AND ({ranking.where}) {qualify} "
            f"ORDER BY {order} LIMIT {window.limit} OFFSET {window.offset}"
        )
        sql = (
            f"SELECT {columns} FROM {table} AS t "  # noqa: S608 - our own names
            f"JOIN ({found}) AS found ON t.rowid = found.row ORDER BY {order}"
        )
        return self.cursor.execute(
            sql, [*ranking.score_values, *ranking.join_values, *where.values]
        ).fetchall()

    def _answered(
        self, wanted: Sequence[Attribute], found: Iterable[tuple[Any, ...]], *, scored: bool
    ) -> list[dict[str, Any]]:
        """Rows as the service writes them: id, `$dist`, then attributes that are not null."""
        names = [attribute.name for attribute in wanted[1:]]
        encoded = [a for a in wanted if a.vector_dimensions and self.encoding == "base64"]
        rows = []
        for identity, score, *values in found:
            row = {"id": identity, "$dist": score} if scored else {"id": identity}
            for name, value in zip(names, values, strict=True):
                if value is not None:
                    row[name] = value
            for attribute in encoded:
                if attribute.name in row:
                    row[attribute.name] = encode_vector(attribute, row[attribute.name])
            rows.append(row)
        return rows


def _selected(attribute: Attribute, encoding: str) -> str:
    """SQL of a column; vector elements as the shortest decimals that are the same 32-bit floats."""
    if attribute.vector_dimensions is None or encoding == "base64":
        return f"t.{attribute.column}"
    return f"t.{attribute.column}::VARCHAR[]::DOUBLE[]"


@dataclass(frozen=True)
class _Window:
    """Which of the ranked rows are answered; of rows that are alike in `per`, `per_limit`."""

    limit: int
    offset: int
    per: Sequence[Attribute] = ()
    per_limit: int = 0


def _window(state: NamespaceState, request: Mapping[str, Any]) -> _Window:
    if "limit" in request and "top_k" in request:
        raise DevstoreError.bad_request("limit and top_k cannot be given together")
    limit = request.get("limit", request.get("top_k"))
    per: Any = None
    if isinstance(limit, Mapping):
        per = limit.get("per")
        limit = limit.get("total")
    offset = request.get("offset") or 0
    limit, offset = _integer("limit", limit, 1), _integer("offset", offset, 0)
    if limit + offset > _MAX_ROWS:
        raise DevstoreError.bad_request(f"limit and offset are at most {_MAX_ROWS} together")
    if per is None:
        return _Window(limit, offset)
    if not isinstance(per, Mapping) or not isinstance(per.get("attributes"), list):
        raise DevstoreError.unreadable("limit.per: expected attributes and limit")
    attributes = [state.schema.get(name) for name in per["attributes"]]
    per_limit = _integer("limit.per.limit", per.get("limit"), 1)
    if not attributes or any(a.is_array or a.vector_dimensions for a in attributes):
        raise DevstoreError.bad_request("limit.per takes scalar attributes")
    return _Window(limit, offset, attributes, per_limit)


def _integer(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise DevstoreError.bad_request(f"{name} must be an integer of at least {least}")
    return value


def _projection(state: NamespaceState, request: Mapping[str, Any]) -> list[Attribute]:
    """The attributes to answer; the id is always the first."""
    include, exclude = request.get("include_attributes"), request.get("exclude_attributes")
    if include is not None and exclude is not None:
        raise DevstoreError.bad_request("include_attributes excludes exclude_attributes")
    for names in (include, exclude):
        if names is not None and not isinstance(names, bool | list):
            raise DevstoreError.unreadable("attributes: expected a boolean or a sequence")
    everything = [a for name, a in state.schema.attributes.items() if name != "id"]
    if isinstance(exclude, list):
        return [state.schema.identity, *(a for a in everything if a.name not in exclude)]
    if include is True:
        return [state.schema.identity, *everything]
    wanted = dict.fromkeys(state.schema.get(name) for name in include or [])
    return [state.schema.identity, *(a for a in wanted if a.name != "id")]
