"""A vector store over rows in memory: as much of the query API as scans and fetches use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from services.core.ids import Namespace
from services.upstream.vector_store import (
    NamespaceNotFoundError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)

__all__ = ["TableVectorStore"]

_SCALARS = {str: "string", bool: "bool", int: "int", float: "float"}


class TableVectorStore:
    """One namespace, `rows`, with ids and attributes; `down` and `updating` are for the test to
    set, and every request is kept in `requests`."""

    def __init__(self, namespace: str, rows: list[dict[str, Any]]) -> None:
        self.namespace = namespace
        self.rows = rows
        self.written_at = "2026-09-21T14:13:20Z"
        self.updating = False
        self.down = False
        self.requests: list[Mapping[str, object]] = []
        self.polls = 0

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        self._check(namespace)
        self.requests.append(request)
        assert request["rank_by"] == ["id", "asc"]
        limit = request["top_k"]
        assert isinstance(limit, int)
        assert 1 <= limit <= 10_000
        matching = [row for row in self.rows if _matches(row, request.get("filters"))]
        page = sorted(matching, key=lambda row: row["id"])[:limit]
        return msgspec.json.encode({"rows": [self._project(row, request) for row in page]})

    async def metadata(self, namespace: Namespace) -> bytes:
        self._check(namespace)
        self.polls += 1
        index = {"status": "updating", "unindexed_bytes": 1} if self.updating else None
        return msgspec.json.encode(
            {
                "schema": self._schema(),
                "approx_row_count": len(self.rows),
                "updated_at": self.written_at,
                "last_write_at": self.written_at,
                "index": index or {"status": "up-to-date"},
            }
        )

    def _check(self, namespace: Namespace) -> None:
        if self.down:
            raise UpstreamUnavailableError("the upstream is down")
        if namespace != self.namespace:
            raise NamespaceNotFoundError(namespace)

    def _schema(self) -> dict[str, dict[str, str]]:
        types = {
            "id": {"type": "uint" if all(isinstance(r["id"], int) for r in self.rows) else "string"}
        }
        for row in self.rows:
            for name, value in row.items():
                if name == "id" or value is None:
                    continue
                if name == "vector":
                    types[name] = {"type": f"[{len(value)}]f32"}
                elif isinstance(value, list):
                    types[name] = {"type": "[]string"}
                else:
                    types[name] = {"type": _SCALARS[type(value)]}
        return types

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


def _matches(row: dict[str, Any], filters: Any) -> bool:
    if filters is None:
        return True
    if filters[0] == "And":
        return all(_matches(row, part) for part in filters[1])
    name, operator, value = filters
    if operator == "Gt":
        return bool(row[name] > value)
    if operator == "In":
        return row.get(name) in value
    assert operator == "Eq"
    return bool(row.get(name) == value)
