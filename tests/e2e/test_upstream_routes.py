"""No route of ours stands in the way of one of Turbopuffer's: all that it documents reach it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from tests.e2e.conftest import Relay

pytestmark = pytest.mark.asyncio(loop_scope="session")

# turbopuffer.com/docs: query, write, metadata, namespaces, export, delete-namespace, warm-cache,
# recall and api-overview; the deprecated ones are those that older clients still send.
ROUTES = [
    ("GET", "/v1/namespaces"),
    ("GET", "/v1/namespaces?prefix=a%2Fb&cursor=eyJ9&page_size=7"),
    ("GET", "/v2/namespaces"),
    ("POST", "/v2/namespaces/{ns}"),
    ("POST", "/v1/namespaces/{ns}"),
    ("POST", "/v2/namespaces/{ns}?stainless_overload=copyFrom"),
    ("DELETE", "/v2/namespaces/{ns}"),
    ("DELETE", "/v1/namespaces/{ns}"),
    ("GET", "/v1/namespaces/{ns}?cursor=abc"),
    ("HEAD", "/v1/namespaces/{ns}"),
    ("POST", "/v2/namespaces/{ns}/query"),
    ("POST", "/v1/namespaces/{ns}/query"),
    ("POST", "/v2/namespaces/{ns}/query?stainless_overload=multiQuery"),
    ("POST", "/v2/namespaces/{ns}/explain_query"),
    ("PATCH", "/v1/namespaces/{ns}/metadata"),
    ("PATCH", "/v2/namespaces/{ns}/metadata"),
    ("HEAD", "/v2/namespaces/{ns}/metadata"),
    ("GET", "/v1/namespaces/{ns}/schema"),
    ("POST", "/v1/namespaces/{ns}/schema"),
    ("GET", "/v2/namespaces/{ns}/schema"),
    ("POST", "/v2/namespaces/{ns}/schema"),
    ("GET", "/v1/namespaces/{ns}/hint_cache_warm"),
    ("GET", "/v2/namespaces/{ns}/hint_cache_warm"),
    ("POST", "/v1/namespaces/{ns}/_debug/recall"),
    ("POST", "/v2/namespaces/{ns}/async?stainless_overload=startCopyFrom"),
    ("GET", "/v1/namespaces/{ns}/operations/tpuf-abc123?stainless_overload=pollCopyFrom"),
    # What Turbopuffer may add under its first version.
    ("GET", "/v1/namespaces/{ns}/documents"),
    ("GET", "/v1/namespaces/{ns}/history"),
    ("POST", "/v1/namespaces/{ns}/snapshots"),
    ("POST", "/v1/namespaces/{ns}/warm"),
    ("PUT", "/v1/keys/some"),
    ("OPTIONS", "/v1/namespaces"),
]

BODIES = {"POST", "PUT", "PATCH"}

NAMESPACES = [
    "plain",
    # Words of our own routes, in the place of a name.
    *("documents", "history", "snapshots", "snapshot-jobs", "snapshot-policy", "scans", "warm"),
    *("warm-jobs", "search-history", "clickstream", "metadata", "query", "activity"),
    # The longest, all kinds of characters, and what clients percent-encode.
    "x" * 128,
    "a-b_c.D9",
    "..",
    "%C3%A4%20b",
    "a%2Fdocuments",
]


@pytest_asyncio.fixture(loop_scope="session")
async def http(relay: Relay) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=relay.url, timeout=20) as client:
        yield client


async def reach(
    relay: Relay, http: httpx.AsyncClient, method: str, target: str
) -> tuple[httpx.Response, bytes]:
    """Send a request whose target is not tidied on the way; the answer, and the body sent."""
    body = json.dumps({"filters": ["a", "Eq", 1]}).encode() if method in BODIES else b""
    request = http.build_request(method, relay.url, content=body, headers={"prefer": "x"})
    request.headers["authorization"] = "Bearer callers-own"
    request.extensions = {"target": target.encode()}
    relay.upstream.received.clear()
    return await http.send(request), body


@pytest.mark.parametrize(("method", "route"), ROUTES, ids=[" ".join(route) for route in ROUTES])
async def test_every_documented_route_reaches_turbopuffer(
    relay: Relay, http: httpx.AsyncClient, method: str, route: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"" if request.method == "HEAD" else b"its own", status=299)

    relay.upstream.answer = answer
    for namespace in NAMESPACES if "{ns}" in route else [""]:
        target = route.replace("{ns}", namespace)
        answered, body = await reach(relay, http, method, target)
        assert (answered.status_code, answered.content) in ((299, b"its own"), (299, b"")), target
        (received,) = relay.upstream.received
        assert (received.method, received.target) == (method, target)
        assert received.body == body
        assert received.headers["authorization"] == "Bearer gateways-own"
        assert received.headers["prefer"] == "x"
        assert not [name for name in received.headers if name.lower().startswith("x-layer")]


async def test_metadata_is_read_for_its_caller_and_keeps_what_we_do_not_know(
    relay: Relay, http: httpx.AsyncClient
) -> None:
    """The one documented route that is ours: its answer has all that Turbopuffer's has."""
    metadata = {
        "schema": {"id": {"type": "uint"}},
        "approx_row_count": 12,
        "approx_logical_bytes": 96,
        "created_at": "2026-11-01T10:00:00Z",
        "updated_at": "2026-11-20T09:00:00Z",
        "last_write_at": "2026-11-20T08:59:58Z",
        "index": {"status": "up-to-date"},
        "encryption": {"mode": "default"},
        "pinning": {"replicas": 2, "status": {"ready_replicas": 1, "utilization": 0.25}},
        "sharding": {"num_shards": 8},
        "branching": {"parent": "source"},
        "read_only": True,
        "something_new": [18446744073709551615, 1.50],
    }

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(metadata)

    relay.upstream.answer = answer
    for version in ("v1", "v2"):
        target = f"/{version}/namespaces/documents/metadata"
        answered, _ = await reach(relay, http, "GET", target)
        assert answered.status_code == 200
        layer = answered.json()
        assert {name: layer[name] for name in metadata} == metadata
        assert set(layer) - set(metadata) == {"id", "layer"}
        # The two versions differ in their shape of `encryption`.
        assert relay.upstream.received[0].target == target
