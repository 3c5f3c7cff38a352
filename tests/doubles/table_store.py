"""A vector store over rows in memory: as much of the query API as counts and fetches use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from services.core.ids import Namespace
from services.upstream.vector_store import (
    ApiVersion,
    NamespaceNotFoundError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from tests.doubles.naive_filters import naive_match
from tests.doubles.table_aggregation import aggregate

__all__ = ["TableVectorStore"]

_SCALARS = {str: "string", bool: "bool", int: "int", float: "float"}
_CAP = 10_000


class TableVectorStore:
    """One namespace, `rows`, with ids and attributes; every request is kept in `requests`.

    The other attributes are for the test to set: `down` and `updating`; `written_at` and
    `schema_written_at`, when rows and schema were changed last, and `tells_of_writes`, whether
    answers say so; `types`, schema types that the rows do not tell; `group_cap`, where groups are
    cut; `refuse`, which may raise for a query or sub-query; `answer`, which may change the answer
    of one; `id_key`, the order of ids.
    `most_slots` is the most of the namespace's 16 slots that were taken at once.
    """

    def __init__(self, namespace: str, rows: list[dict[str, Any]]) -> None:
        self.namespace = namespace
        self.rows = rows
        self.written_at = "2026-09-21T14:13:20Z"
        self.schema_written_at = ""
        self.tells_of_writes = True
        self.updating = False
        self.down = False
        self.types: dict[str, str] = {}
        self.group_cap = _CAP
        self.refuse: Callable[[Mapping[str, Any]], None] = lambda _query: None
        self.answer: Callable[[Mapping[str, Any], dict[str, Any]], dict[str, Any]] = (
            lambda _query, answer: answer
        )
        self.id_key: Callable[[Any], Any] = lambda document_id: document_id
        self.requests: list[Mapping[str, object]] = []
        self.polls = 0
        self.most_slots = 0
        self._slots = 0

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        self._check(namespace)
        self.requests.append(request)
        queries: Any = request.get("queries", [request])
        assert 1 <= len(queries) <= 16
        slots = sum(4 if "aggregate_by" in query else 1 for query in queries)
        self._slots += slots
        self.most_slots = max(self.most_slots, self._slots)
        try:
            # Let other queries in, as a network does.
            await asyncio.sleep(0)
            answers = [self._answer(query) for query in queries]
        finally:
            self._slots -= slots
        return msgspec.json.encode({"results": answers} if "queries" in request else answers[0])

    async def metadata(self, namespace: Namespace, version: ApiVersion = "v2") -> bytes:
        self._check(namespace)
        self.polls += 1
        index = {"status": "updating", "unindexed_bytes": 1} if self.updating else None
        return msgspec.json.encode(
            {
                "schema": self._schema(),
                "approx_row_count": len(self.rows),
                "updated_at": max(self.written_at, self.schema_written_at),
                "last_write_at": self.written_at,
                "index": index or {"status": "up-to-date"},
            }
        )

    def _check(self, namespace: Namespace) -> None:
        if self.down:
            raise UpstreamUnavailableError("the upstream is down")
        if namespace != self.namespace:
            raise NamespaceNotFoundError(namespace)

    def _answer(self, query: Mapping[str, Any]) -> dict[str, Any]:
        self.refuse(query)
        if ("aggregate_by" in query) == ("rank_by" in query):
            raise UpstreamRejectedError(400, "either rank_by or aggregate_by")
        matching = [row for row in self.rows if self._matches(query.get("filters"), row)]
        if "aggregate_by" in query:
            answer = aggregate(matching, query, self._schema(), self.group_cap)
        else:
            answer = {"rows": self._ranked(matching, query)}
        if self.tells_of_writes:
            answer["performance"] = {"last_included_write_at": self.written_at}
        return self.answer(query, answer)

    def _matches(self, expression: Any, row: dict[str, Any]) -> bool:
        """A filter's conditions on ids follow the order that ids have here."""
        return naive_match(self._with_keys(expression), {**row, "id": self.id_key(row["id"])})

    def _with_keys(self, expression: Any) -> Any:
        if isinstance(expression, list) and len(expression) == 3 and expression[0] == "id":
            name, operator, operand = expression
            if isinstance(operand, list):
                return [name, operator, [self.id_key(each) for each in operand]]
            return [name, operator, self.id_key(operand)]
        if isinstance(expression, list):
            return [self._with_keys(part) for part in expression]
        return expression

    def _ranked(self, rows: list[dict[str, Any]], query: Mapping[str, Any]) -> list[dict[str, Any]]:
        attribute, direction = query["rank_by"]
        limit = query["top_k"]
        assert isinstance(limit, int)
        assert 1 <= limit <= _CAP
        if attribute == "id":
            rows = sorted(rows, key=lambda row: self.id_key(row["id"]))
        else:
            rows = sorted(
                rows, key=lambda row: (row.get(attribute) is not None, row.get(attribute))
            )
        page = (rows if direction == "asc" else rows[::-1])[:limit]
        return [self._project(row, query) for row in page]

    def _schema(self) -> dict[str, dict[str, str]]:
        is_integer = all(isinstance(row["id"], int) for row in self.rows)
        types = {"id": {"type": "uint" if is_integer else "string"}}
        for row in self.rows:
            for name, value in row.items():
                if name == "id" or value is None:
                    continue
                if name == "vector":
                    types[name] = {"type": f"[{len(value)}]f32"}
                elif isinstance(value, list):
                    # An empty array does not tell; one that has elements may still come.
                    element = _SCALARS[type(value[0])] if value else "string"
                    if value or name not in types:
                        types[name] = {"type": f"[]{element}"}
                else:
                    types[name] = {"type": _SCALARS[type(value)]}
        return types | {name: {"type": declared} for name, declared in self.types.items()}

    def _project(self, row: dict[str, Any], request: Mapping[str, object]) -> dict[str, Any]:
        if "exclude_attributes" in request:
            excluded = request["exclude_attributes"]
            assert isinstance(excluded, list)
            wanted = set(row) - set(excluded)
        else:
            include = request.get("include_attributes", [])
            assert isinstance(include, list | bool)
            wanted = set(row) if include is True else set(include or [])
            unknown = wanted - set(self._schema())
            if unknown:
                raise UpstreamRejectedError(400, f"attribute not found: {unknown}")
        # Null attributes are left out of rows, as they are by the real one.
        return {
            name: value
            for name, value in row.items()
            if name == "id" or (name in wanted and value is not None)
        }
