"""What Turbopuffer has and the development store has not: a 400 that says so."""

from __future__ import annotations

from typing import Any

import pytest

from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import Store

VECTOR = {"id": 1, "vector": [1, 2], "t": "x"}


def refusal(store: Store, verb: str, **body: Any) -> str:
    with pytest.raises(DevstoreError, match="the development store has no ") as refused:
        getattr(store, verb)(**body)
    assert refused.value.status == 400
    return refused.value.message


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"rank_by": ["sv", "SparseKNN", {"a": 0.5}]}, "SparseKNN"),
        ({"rank_by": ["vector", "ANN", ["Embed", "some words"]]}, "Embed"),
        ({"rank_by": ["Saturate", ["Attribute", "n"], {"midpoint": 1}]}, "Saturate"),
        ({"rank_by": ["Sum", [["t", "BM25", "x"], ["Attribute", "n"]]]}, "Attribute"),
        ({"rank_by": ["Sum", [["t", "BM25", "x"], ["t", "Eq", "x"]]]}, "Eq"),
        ({"rank_by": ["t", "Eq", "x"]}, "Eq"),
        ({"filters": ["t", "Fuzzy", "x", {"max_edit_distance": []}]}, "Fuzzy"),
        ({"compute_attributes": {"score": ["t", "BM25", "x"]}}, "computed attributes"),
        (
            {"queries": [], "rerank_by": {"model": "m", "query": "q", "attribute": "t"}},
            "models that rank anew",
        ),
    ],
)
def test_queries(store: Store, body: dict[str, Any], word: str) -> None:
    schema = {"t": {"type": "string", "full_text_search": True, "filterable": True}}
    store.upsert(VECTOR, schema=schema, distance_metric="cosine_distance")

    if "queries" in body:
        body = {**body, "queries": [{"rank_by": ["id", "asc"], "limit": 1}] * 2}
    else:
        body = {"rank_by": ["id", "asc"], "limit": 1, **body}

    assert word in refusal(store, "ask", **body)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"schema": {"x": {"type": "string", "regex": True}}}, "regex"),
        ({"schema": {"x": {"type": "string", "embed": "some/model"}}}, "embed"),
        ({"schema": {"x": "{}f16"}}, "{}f16"),
        ({"schema": {"x": {"type": "[][2]f32", "ann": {"late_interaction": True}}}}, "[][2]f32"),
        ({"sharding": {"num_shards": 2}}, "shards"),
        ({"copy_from_namespace": {"source_namespace": "n", "source_region": "r"}}, "other regions"),
    ],
)
def test_writes(store: Store, body: dict[str, Any], word: str) -> None:
    store.upsert({"id": 1})

    assert word in refusal(store, "write", **body)


def test_options_that_ask_for_nothing_are_taken(store: Store) -> None:
    options = {"type": "string", "regex": False, "glob": False, "fuzzy": None}
    store.upsert({"id": 1, "x": "a"}, schema={"x": options})

    assert store.ids(limit=1, compute_attributes={}, include_leg_breakdown=False) == [1]
