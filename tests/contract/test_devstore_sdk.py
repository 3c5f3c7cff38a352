"""The development upstream through the official SDK, over a socket."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Literal

import pytest
import turbopuffer
from turbopuffer import AsyncTurbopuffer, Turbopuffer

from tests.doubles.devstore_process import running_devstore

EUCLIDEAN: Final[Literal["euclidean_squared"]] = "euclidean_squared"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_devstore(tmp_path_factory.mktemp("devstore")) as devstore:
        devstore.wait_until_ready()
        yield devstore.url


@pytest.fixture
def sdk(url: str) -> Iterator[Turbopuffer]:
    with Turbopuffer(api_key="x", base_url=url, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_sdk(url: str) -> AsyncIterator[AsyncTurbopuffer]:
    async with AsyncTurbopuffer(api_key="x", base_url=url, max_retries=0) as client:
        yield client


def row(**attributes: Any) -> Any:
    """A document; the SDK's type of one knows no attributes."""
    return attributes


@pytest.fixture
def name() -> str:
    return f"sdk-{uuid.uuid1()}"


def test_vectors_are_written_and_ranked(sdk: Turbopuffer, name: str) -> None:
    namespace = sdk.namespace(name)
    written = namespace.write(
        upsert_rows=[
            row(id=i, vector=[i / 10, 0.7], color="red" if i % 2 else "blue") for i in range(10)
        ],
        distance_metric=EUCLIDEAN,
    )

    found = namespace.query(
        rank_by=("vector", "ANN", [0.5, 0.7]),
        top_k=3,
        filters=("color", "Eq", "red"),
        include_attributes=True,
    )

    assert written.rows_affected == 10
    assert found.rows is not None
    assert [each.id for each in found.rows] == [5, 3, 7]
    assert found.rows[0].vector == [0.5, 0.7]
    assert found.rows[0]["$dist"] == pytest.approx(0, abs=1e-6)
    assert found.performance.exhaustive_search_count == 10


def test_several_queries_in_one(sdk: Turbopuffer, name: str) -> None:
    namespace = sdk.namespace(name)
    namespace.write(upsert_columns=row(id=["a", "b", "c"], n=[1, 2, 2]))

    answer = namespace.multi_query(
        queries=[
            {"rank_by": ("n", "desc"), "limit": 2},
            {"aggregate_by": {"n_": ("Count",)}, "group_by": ["n"]},
        ]
    )

    first, second = answer.results
    assert first.rows is not None
    assert [each.id for each in first.rows] == ["b", "c"]
    assert second.aggregation_groups is not None
    assert [(g["n"], g["n_"]) for g in second.aggregation_groups] == [(1, 1), (2, 2)]


def test_text_is_ranked(sdk: Turbopuffer, name: str) -> None:
    namespace = sdk.namespace(name)
    namespace.write(
        upsert_rows=[row(id=1, t="walruses bark"), row(id=2, t="dogs bark loudly")],
        schema={"t": {"type": "string", "full_text_search": {"stemming": True}}},
    )

    found = namespace.query(
        rank_by=("t", "BM25", "walrus barks"), filters=("t", "ContainsAnyToken", "bark"), top_k=5
    )

    assert found.rows is not None
    assert [each.id for each in found.rows] == [1, 2]


def test_patches_deletes_and_conditions(sdk: Turbopuffer, name: str) -> None:
    namespace = sdk.namespace(name)
    namespace.write(upsert_rows=[row(id=i, n=i) for i in range(4)])
    namespace.write(patch_rows=[row(id=0, m=5)], deletes=[1], delete_by_filter=("n", "Eq", 2))

    raced = namespace.write(
        upsert_rows=[row(id=0, n=-1), row(id=3, n=9)],
        upsert_condition=("n", "Lt", {"$ref_new": "n"}),
        return_affected_ids=True,
    )

    assert (raced.rows_affected, raced.upserted_ids) == (1, [3])
    rows = namespace.query(rank_by=("id", "asc"), top_k=10, include_attributes=True).rows
    assert rows is not None
    assert [(each.id, each["n"], dict(each).get("m")) for each in rows] == [
        (0, 0, 5),
        (3, 9, None),
    ]


def test_metadata_schema_and_life(sdk: Turbopuffer, name: str) -> None:
    namespace = sdk.namespace(name)
    assert namespace.exists() is False
    with pytest.raises(turbopuffer.NotFoundError):
        namespace.metadata()
    namespace.write(upsert_rows=[row(id=1, s="x")])

    metadata = namespace.metadata()
    updated = namespace.update_schema(schema={"s": {"type": "string", "filterable": False}})

    assert namespace.exists() is True
    assert metadata.approx_row_count == 1
    assert metadata.index.status == "up-to-date"
    assert updated["s"].filterable is False
    with pytest.raises(turbopuffer.BadRequestError, match="not filterable"):
        namespace.query(rank_by=("id", "asc"), top_k=1, filters=("s", "Eq", "x"))
    namespace.delete_all()
    assert namespace.exists() is False


def test_lists_follow_the_cursor(sdk: Turbopuffer, name: str) -> None:
    names = [f"{name}-{i}" for i in range(5)]
    for each in names:
        sdk.namespace(each).write(upsert_rows=[{"id": 1}])

    listed = [namespace.id for namespace in sdk.namespaces(prefix=name, page_size=2)]

    assert listed == names


async def test_the_async_client(async_sdk: AsyncTurbopuffer, name: str) -> None:
    namespace = async_sdk.namespace(name)
    await namespace.write(
        upsert_rows=[{"id": 2**64 - 1, "vector": [0.1, 0.2]}, {"id": 1, "vector": [1, 2]}],
        distance_metric="cosine_distance",
    )

    found = await namespace.query(
        rank_by=("id", "desc"), top_k=5, include_attributes=True, vector_encoding="base64"
    )
    listed = [n.id async for n in async_sdk.namespaces(prefix=name)]

    assert found.rows is not None
    assert [each.id for each in found.rows] == [2**64 - 1, 1]
    assert found.rows[0].vector == "zczMPc3MTD4="
    assert listed == [name]


@pytest.mark.parametrize("is_compressed", [True, False])
def test_compression(url: str, name: str, is_compressed: bool) -> None:
    with Turbopuffer(api_key="x", base_url=url, max_retries=0, compression=is_compressed) as client:
        namespace = client.namespace(name)
        namespace.write(upsert_rows=[row(id=i, s="text " * 20) for i in range(500)])
        rows = namespace.query(rank_by=("id", "asc"), top_k=500, include_attributes=True).rows

    assert rows is not None
    assert len(rows) == 500
