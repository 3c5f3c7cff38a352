"""Random namespaces for tests of counting at the origin."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from hypothesis import strategies as st

from services.core.ids import Namespace
from services.snapshot.count_request import CountRequest
from services.upstream.vector_store import decode_metadata
from tests.doubles.table_store import TableVectorStore

NS = Namespace("products")
MAX_ID = 2**64 - 1

text = st.text("abé\U0001f600Z0", max_size=2)
whole = st.integers(-4, 4)
real = st.sampled_from([-1.5, -0.0, 0.0, 1.0, 2.5, 7.0, 1e16, 1e300, 1.5e-7])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "text": text,
    "n": whole,
    "flag": st.booleans(),
    "real": real,
    "texts": st.lists(text, max_size=3),
    "wholes": st.lists(whole, max_size=3),
    "reals": st.lists(real, max_size=3),
    "when": st.sampled_from(["2026-01-01T00:00:00.000000000Z", "2026-01-02T00:00:00.000000000Z"]),
}
TYPES = {
    "text": "string",
    "n": "int",
    "flag": "bool",
    "real": "float",
    "texts": "[]string",
    "wholes": "[]int",
    "reals": "[]float",
    "when": "datetime",
}
ids = st.one_of(
    st.lists(st.integers(0, 60), unique=True, max_size=40),
    st.lists(
        st.one_of(st.integers(0, 3), st.integers(MAX_ID - 20, MAX_ID), st.integers(0, MAX_ID)),
        unique=True,
        max_size=40,
    ),
    st.lists(st.uuids().map(str), unique=True, max_size=40),
    st.lists(st.integers(0, 9999).map(lambda n: f"doc-{n:04}"), unique=True, max_size=40),
    st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=30),
)
filters = st.sampled_from(
    [
        None,
        ["n", "Gte", 0],
        ["Or", [["flag", "Eq", None], ["text", "NotIn", ["a", "b"]]]],
        ["Not", ["texts", "Contains", "a"]],
        ["n", "Eq", 99],
    ]
)


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Documents with some of the fields, null or missing ones among them, in no order."""
    attributes = st.fixed_dictionaries(
        {}, optional={name: st.one_of(st.none(), values) for name, values in FIELDS.items()}
    )
    return [{"id": each, **draw(attributes)} for each in draw(ids)]


def table(documents: list[dict[str, Any]]) -> TableVectorStore:
    """An upstream with the documents and the schema of all fields."""
    upstream = TableVectorStore(NS, documents)
    upstream.types = dict(TYPES)
    if documents and all(_is_uuid(row["id"]) for row in documents):
        upstream.types["id"] = "uuid"
    return upstream


def request_of(upstream: TableVectorStore, *fields: str, **options: Any) -> CountRequest:
    """A request for the fields, with the namespace's own metadata."""
    metadata = decode_metadata(asyncio.run(upstream.metadata(NS)))
    return CountRequest(NS, fields, metadata, **options)


def _is_uuid(document_id: Any) -> bool:
    try:
        return bool(str(uuid.UUID(document_id)) == document_id)
    except (ValueError, AttributeError):
        return False
