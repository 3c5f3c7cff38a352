"""`rerank_by`: the rows of several queries as one list
(turbopuffer.com/docs/query#reciprocal-rank-fusion)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.devstore.errors import DevstoreError

__all__ = ["Fusion", "parse_rerank_by"]


class Fusion(msgspec.Struct, forbid_unknown_fields=True):
    """Reciprocal rank fusion. Without weights each query weighs 1."""

    rank_constant: int = 60
    weights: list[float] | None = None

    def fuse(self, lists: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
        """Rows by falling score, which is their `$dist`; equal ones by id. A row of several lists
        has the attributes of all of them."""
        weights = self.weights or [1.0] * len(lists)
        fused: dict[Any, dict[str, Any]] = {}
        scores: dict[Any, float] = {}
        for weight, rows in zip(weights, lists, strict=True):
            for rank, row in enumerate(rows, 1):
                identity = row["id"]
                fused[identity] = {**row, **fused.get(identity, {})}
                scores[identity] = scores.get(identity, 0.0) + weight / (self.rank_constant + rank)
        best_first = sorted(fused, key=lambda identity: (-scores[identity], identity))
        return [{**fused[each], "$dist": scores[each]} for each in best_first]


def parse_rerank_by(rerank_by: object, queries: Sequence[Mapping[str, Any]]) -> Fusion:
    """What `rerank_by` asks for.

    Raises:
        DevstoreError: 400, values that make no sense or queries that cannot be fused; 422, another
            shape.
    """
    if isinstance(rerank_by, dict) and "model" in rerank_by:
        raise DevstoreError.unsupported("models that rank anew")
    if not isinstance(rerank_by, list) or len(rerank_by) not in (1, 2) or rerank_by[0] != "RRF":
        raise DevstoreError.unreadable('rerank_by: expected ["RRF"] or ["RRF", {…}]')
    try:
        fusion = msgspec.convert(rerank_by[1] if len(rerank_by) == 2 else {}, Fusion)
    except msgspec.ValidationError as error:
        raise DevstoreError.unreadable(f"rerank_by: {error}") from None
    if len(queries) < 2 or any("aggregate_by" in each for each in queries):
        raise DevstoreError.bad_request("RRF takes two queries or more, and no aggregations")
    if fusion.rank_constant < 1:
        raise DevstoreError.bad_request("rank_constant must be greater than zero")
    weights = fusion.weights
    if weights is not None and (len(weights) != len(queries) or min(weights) <= 0):
        raise DevstoreError.bad_request("weights: one for each query, greater than zero")
    return fusion
