"""`rank_by` as SQL: attribute order, exact vector distance, BM25 and sums of BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb

from services.devstore.database import Database, NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.values import column_value, shown

__all__ = ["Ranking", "compile_ranking"]

_MAX_ORDERS: Final = 8
_OTHER: Final = ("SparseKNN", "Attribute", "Saturate", "Decay", "Dist")
_DIRECTIONS: Final = {"asc": "ASC NULLS FIRST", "desc": "DESC NULLS LAST"}
_DISTANCES: Final = {
    "cosine_distance": "array_cosine_distance({column}, ?::{type})",
    "euclidean_squared": "power(array_distance({column}, ?::{type}), 2)",
}


@dataclass(frozen=True)
class Ranking:
    """Parts of a SELECT. With a score, it is what the rows are ordered by and `$dist`."""

    order: str
    is_scored: bool = False
    score: str = "NULL"
    score_values: Sequence[Any] = ()
    join: str = ""
    join_values: Sequence[Any] = ()
    where: str = "true"


def compile_ranking(
    database: Database,
    cursor: duckdb.DuckDBPyConnection,
    state: NamespaceState,
    rank_by: Any,  # noqa: ANN401 - any JSON value
) -> Ranking:
    """The ranking that an expression asks for.

    Raises:
        DevstoreError: 400, an unknown attribute or form.
    """
    if not isinstance(rank_by, list) or not rank_by:
        raise DevstoreError.unreadable("invalid rank_by: expected an array")
    if _other(rank_by):
        raise _unsupported(rank_by)
    if len(rank_by) == 3 and rank_by[1] in ("ANN", "kNN"):
        return _by_distance(state, rank_by)
    if rank_by[0] in ("Sum", "Max", "Product") or (len(rank_by) >= 2 and rank_by[1] == "BM25"):
        return _by_text(state, _Scorer(database, cursor, state).scores(rank_by))
    orders = rank_by if isinstance(rank_by[0], list) else [rank_by]
    if len(orders) > _MAX_ORDERS:
        raise DevstoreError.bad_request(f"rank_by takes at most {_MAX_ORDERS} attributes")
    return Ranking(", ".join(_attribute_order(state, each) for each in orders))


def _other(rank_by: Sequence[Any]) -> bool:
    """Whether it is of a form that Turbopuffer has and this store has not."""
    embeds = isinstance(rank_by[-1], list) and rank_by[-1][:1] == ["Embed"]
    return embeds or rank_by[0] in _OTHER or (len(rank_by) > 1 and rank_by[1] in _OTHER)


def _unsupported(rank_by: object) -> DevstoreError:
    return DevstoreError.unsupported(
        f"rank_by {shown(rank_by)}: it has orders of attributes, ANN and kNN of one vector, BM25, "
        "and Sum, Max and Product of BM25"
    )


def _attribute_order(state: NamespaceState, order: Any) -> str:  # noqa: ANN401
    if not isinstance(order, list) or len(order) != 2 or order[1] not in ("asc", "desc"):
        raise _unsupported(order)
    attribute = state.schema.get(order[0])
    if attribute.is_array or attribute.vector_dimensions:
        raise DevstoreError.bad_request(f"cannot order by {attribute.type} {order[0]!r}")
    return f"t.{attribute.column} {_DIRECTIONS[order[1]]}"


def _by_distance(state: NamespaceState, rank_by: Sequence[Any]) -> Ranking:
    """Computed for every row, so ANN and kNN are the same and exact."""
    attribute = state.schema.get(rank_by[0])
    if attribute.vector_dimensions is None:
        raise DevstoreError.bad_request(f"{rank_by[0]!r} is not a vector attribute")
    metric = state.schema.distance_metric or "cosine_distance"
    score = _DISTANCES[metric].format(column=f"t.{attribute.column}", type=attribute.sql_type)
    return Ranking(
        order="score ASC",
        is_scored=True,
        score=score,
        score_values=[column_value(attribute, rank_by[2])],
        where=f"t.{attribute.column} IS NOT NULL",
    )


def _by_text(state: NamespaceState, scores: Mapping[Any, float]) -> Ranking:
    """Rows with a score, best first."""
    identity = state.schema.identity
    ranked = {row: score for row, score in scores.items() if score > 0}
    return Ranking(
        order="score DESC",
        is_scored=True,
        score="ranked.points",
        join=(
            f"JOIN (SELECT unnest(?::{identity.sql_type}[]) AS id, "
            f"unnest(?::DOUBLE[]) AS points) AS ranked ON t.{identity.column} = ranked.id"
        ),
        join_values=[list(ranked), list(ranked.values())],
    )


@dataclass(frozen=True)
class _Scorer:
    """Evaluates text rankings to scores by document id."""

    database: Database
    cursor: duckdb.DuckDBPyConnection
    state: NamespaceState
    depth: int = field(default=0)

    def scores(self, expression: Any) -> Mapping[Any, float]:  # noqa: ANN401
        if self.depth > 8 or not isinstance(expression, list) or len(expression) < 2:
            raise _unsupported(expression)
        if expression[1] == "BM25":
            if len(expression) not in (3, 4) or not isinstance(expression[-1], str | list | dict):
                raise _unsupported(expression)
            return self._bm25(*expression)
        inner = _Scorer(self.database, self.cursor, self.state, self.depth + 1)
        head, *rest = expression
        if head == "Product" and len(rest) == 2:
            weight, part = rest if isinstance(rest[0], int | float) else reversed(rest)
            if not isinstance(weight, int | float):
                raise DevstoreError.bad_request("Product takes a number and a ranking")
            return {row: score * weight for row, score in inner.scores(part).items()}
        if head in ("Sum", "Max") and isinstance(rest[0], list):
            combined: dict[Any, float] = {}
            for part in rest[0]:
                for row, score in inner.scores(part).items():
                    before = combined.get(row, 0.0)
                    combined[row] = before + score if head == "Sum" else max(before, score)
            return combined
        raise _unsupported(expression)

    def _bm25(
        self,
        name: str,
        _operator: str,
        text: Any,  # noqa: ANN401
        options: Mapping[str, Any] | None = None,
    ) -> Mapping[Any, float]:
        attribute = self.state.schema.get(name)
        index = self.database.text_index(self.cursor, self.state, attribute)
        is_list = isinstance(text, list) and all(isinstance(token, str) for token in text)
        expected = "[]string" if index.takes_tokens else "string or []string"
        if not is_list and (index.takes_tokens or not isinstance(text, str)):
            raise DevstoreError.bad_request(
                f'invalid input {str(text)[:80]!r} for rank_by field "{name}", expecting {expected}'
            )
        return index.scores(text, last_as_prefix=bool((options or {}).get("last_as_prefix")))
