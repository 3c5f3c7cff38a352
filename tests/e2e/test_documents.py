"""Documents by id and metadata, over plain HTTP."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import snapshot_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_document_without_its_vector(http: httpx.AsyncClient, products: str) -> None:
    answer = await http.get(f"/v2/namespaces/{products}/documents/5")
    expected = {k: v for k, v in ROWS[4].items() if k not in ("id", "vector")}
    assert answer.json() == {"id": "5", "attributes": expected}
    some = await http.get(
        f"/v2/namespaces/{products}/documents/5", params={"include_attributes": "color,size"}
    )
    assert some.json() == {"id": "5", "attributes": {"color": "blue", "size": 0}}


async def test_a_batch_lists_what_is_missing(http: httpx.AsyncClient, products: str) -> None:
    body = {"ids": ["3", "999", "x", "1", "3"], "include_attributes": ["color"]}
    answer = await http.post(f"/v2/namespaces/{products}/documents", json=body)
    assert answer.json() == {
        "documents": [
            {"id": "3", "attributes": {"color": "red"}},
            {"id": "1", "attributes": {"color": "green"}},
        ],
        "missing": ["999", "x"],
    }


async def test_an_absent_document_is_404(http: httpx.AsyncClient, products: str) -> None:
    answer = await http.get(f"/v2/namespaces/{products}/documents/999")
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_string_ids_with_odd_characters(stack: Stack, http: httpx.AsyncClient) -> None:
    ids = ["a/b", "a b", "100%", "ä", "a%2Fb", "12", "?q=1#x"]
    await write(stack, "odd-ids", [{"id": i, "n": at} for at, i in enumerate(ids)])
    for at, text in enumerate(ids):
        answer = await http.get(f"/v2/namespaces/odd-ids/documents/{quote(text, safe='')}")
        assert answer.json() == {"id": text, "attributes": {"n": at}}, text


async def test_large_integers_are_strings(stack: Stack, http: httpx.AsyncClient) -> None:
    await write(stack, "large", [{"id": 2**63 + 1, "n": 2**53 + 1, "m": 2**53}])
    answer = await http.get(f"/v2/namespaces/large/documents/{2**63 + 1}")
    assert answer.json() == {
        "id": str(2**63 + 1),
        "attributes": {"n": str(2**53 + 1), "m": 2**53},
    }


async def test_metadata_is_the_upstreams_with_a_layer_block(
    stack: Stack, http: httpx.AsyncClient, products: str
) -> None:
    await snapshot_of(http, products, field="color", source="origin")
    async with httpx.AsyncClient(base_url=stack.devstore_url) as upstream:
        direct = await upstream.get(
            f"/v2/namespaces/{products}/metadata", headers={"authorization": "Bearer any"}
        )
    for version in ("v1", "v2"):
        answer = (await http.get(f"/{version}/namespaces/{products}/metadata")).json()
        layer = answer.pop("layer")
        assert answer.pop("id") == products
        assert set(answer) == set(direct.json())
        assert answer["schema"].keys() == direct.json()["schema"].keys()
        assert set(layer) == {"stable_as_of", "is_stable", "indexed", "index_lag_rows"}
        assert layer["is_stable"] is True
        assert isinstance(layer["stable_as_of"], int)
        assert (layer["indexed"], layer["index_lag_rows"]) == (True, 0)


async def test_documents_that_are_too_large_together(stack: Stack, http: httpx.AsyncClient) -> None:
    text = "x" * 7_000_000
    rows = [{"id": number, "text": text} for number in range(10)]
    schema = {"text": {"type": "string", "filterable": False}}
    written = await http.post(
        "/v2/namespaces/heavy", json={"upsert_rows": rows, "schema": schema}, timeout=60
    )
    assert written.status_code == 200, written.text
    ids = [str(row["id"]) for row in rows]
    some = await http.post("/v2/namespaces/heavy/documents", json={"ids": ids[:5]})
    assert [len(d["attributes"]["text"]) for d in some.json()["documents"]] == [len(text)] * 5
    everything = await http.post("/v2/namespaces/heavy/documents", json={"ids": ids})
    assert (everything.status_code, everything.json()["error"]) == (413, "payload_too_large")
