"""`_debug/recall`: searches for vectors of the namespace itself (turbopuffer.com/docs/recall)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from services.devstore.database import Database
from services.devstore.errors import DevstoreError
from services.devstore.query import query
from services.devstore.schema import Schema

__all__ = ["recall"]

_KNOWN: Final = frozenset({"num", "top_k", "filters", "rank_by", "include_ground_truth"})
_SEARCHES: Final = 25
_TOP_K: Final = 10


def recall(database: Database, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """What so many searches found. Every search here is exact, so each finds what it should;
    the vectors searched for are those of the first documents by id.

    Raises:
        DevstoreError: 400, 404 or 422.
    """
    unknown = sorted(set(request) - _KNOWN)
    if unknown:
        raise DevstoreError.unreadable(f"unknown field `{unknown[0]}`")
    with database.reading() as cursor:
        schema = database.get(cursor, name).schema
    rankings = _rankings(database, name, schema, request)
    top_k = request.get("top_k")
    search = {
        "limit": _TOP_K if top_k is None else top_k,
        "filters": request.get("filters"),
        "include_attributes": [rank_by[0] for rank_by in rankings[:1]],
    }
    found = [query(database, name, {**search, "rank_by": r}).body["rows"] for r in rankings]
    count = fmean(map(len, found)) if found else 0.0
    answer = {"avg_recall": 1.0, "avg_exhaustive_count": count, "avg_ann_count": count}
    if not request.get("include_ground_truth"):
        return answer
    truths = [
        {"query_vector": rank_by[2], "nearest_neighbors": rows}
        for rank_by, rows in zip(rankings, found, strict=True)
    ]
    return {**answer, "ground_truth": truths}


def _rankings(
    database: Database, name: str, schema: Schema, request: Mapping[str, Any]
) -> Sequence[Sequence[Any]]:
    """`rank_by` of each search."""
    rank_by, count = request.get("rank_by"), request.get("num")
    if rank_by is not None:
        if count not in (None, 1):
            raise DevstoreError.bad_request("num must be 1 when rank_by is given")
        if not isinstance(rank_by, list) or rank_by[1:2] != ["ANN"]:
            raise DevstoreError.bad_request("recall is of vector searches")
        return [rank_by]
    vectors = [a.name for a in schema.attributes.values() if a.vector_dimensions]
    if not vectors:
        raise DevstoreError.bad_request(f"namespace '{name}' has no vectors")
    sample = {
        "rank_by": ["id", "asc"],
        "limit": _SEARCHES if count is None else count,
        "include_attributes": vectors[:1],
    }
    rows = query(database, name, sample).body["rows"]
    return [[vectors[0], "ANN", row[vectors[0]]] for row in rows if vectors[0] in row]
