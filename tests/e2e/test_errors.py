"""Every error body is ours, whoever produced it."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from services.cli.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

N = "/v2/namespaces"
CASES = [
    ("GET", f"{N}/x/history?limit=0", None, 422, "validation_error"),
    ("GET", f"{N}/x/history?limit=-1", None, 422, "validation_error"),
    ("GET", f"{N}/x/history?limit=many", None, 422, "validation_error"),
    ("GET", f"{N}/x/history?limit=0x10", None, 422, "validation_error"),
    ("GET", "/v2/activity/snapshots?since=99999999999999999999", None, 422, "validation_error"),
    ("GET", f"{N}/x/history?before=1234567", None, 404, "not_found"),
    ("GET", f"{N}/x/history?before=123456", None, 422, "validation_error"),
    ("GET", f"{N}/x/history?before=XYZXYZX", None, 422, "validation_error"),
    ("GET", f"{N}/x/history?colour=red", None, 400, "bad_request"),
    ("GET", f"{N}/{'x' * 129}/history", None, 422, "validation_error"),
    ("GET", f"{N}/a%2Fb/history", None, 422, "validation_error"),
    ("GET", f"{N}/a%00b/history", None, 422, "validation_error"),
    ("GET", f"{N}/%2e%2e/history", None, 422, "validation_error"),
    ("GET", f"{N}/x/snapshots/abc", None, 422, "validation_error"),
    ("GET", f"{N}/x/snapshots/{'a' * 64}", None, 404, "not_found"),
    ("GET", f"{N}/x/snapshot-jobs/none", None, 404, "not_found"),
    ("GET", f"{N}/x/snapshot-policy", None, 404, "not_found"),
    ("GET", "/v2/activity/snapshots", None, 422, "validation_error"),
    ("GET", "/v2/activity/snapshots?since=-1", None, 422, "validation_error"),
    ("GET", "/v2/activity/snapshots?since=soon", None, 422, "validation_error"),
    ("GET", "/v2/activity/snapshots?since=0&cursor=abc", None, 422, "validation_error"),
    ("GET", "/v2/activity/snapshots?since=0&namespace=a%20b", None, 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", "{}", 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": ""}', 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "source": "moon"}', 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "page_size": 0}', 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "page_size": 10001}', 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "page_size": "ten"}', 422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "source": "cache"}', 503, "cache_cold"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "source": "stored", "filters": ["a", "Eq", 1]}',
     422, "validation_error"),
    ("POST", f"{N}/x/snapshots", '{"field": "a"', 400, "bad_request"),
    ("POST", f"{N}/x/snapshots", '{"field": "a", "filters": ' + "[" * 45 + "]" * 45 + "}",
     422, "validation_error"),
    ("PUT", f"{N}/x/snapshot-policy", '{"interval": "5x"}', 422, "validation_error"),
    ("PUT", f"{N}/x/snapshot-policy", '{"facetFields": [""]}', 422, "validation_error"),
    ("GET", f"{N}/x/search-history?limit=0", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?limit=text", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?tag=a%20b", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?tag={'x' * 129}", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?before=-1", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?before=soon", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?before={'9' * 30}", None, 422, "validation_error"),
    ("GET", f"{N}/x/search-history?from=2026-01-01T00:00:00", None, 422, "validation_error"),
    ("GET", f"{N}/x/clickstream?trace_id=abc", None, 422, "validation_error"),
    ("POST", f"{N}/x/documents", '{"ids": []}', 422, "validation_error"),
    ("GET", f"{N}/never-written/documents/1", None, 404, "not_found"),
    ("GET", "/nowhere", None, 404, "not_found"),
    ("DELETE", f"{N}/x/history", None, 404, "not_found"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"), CASES, ids=[f"{c[0]} {c[1][:60]}" for c in CASES]
)
async def test_errors_have_our_shape(
    http: httpx.AsyncClient, method: str, path: str, body: str | None, status: int, code: str
) -> None:
    answer = await http.request(method, path, content=body)
    assert answer.headers["content-type"] == "application/json", answer.text
    assert set(answer.json()) == {"error", "message"}
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert answer.json()["message"]
    assert not {"grpc-status", "grpc-message", "x-error-code"} & set(answer.headers)


async def test_absurdly_nested_filters_are_refused(http: httpx.AsyncClient) -> None:
    body = '{"field": "a", "filters": ' + "[" * 1000 + "]" * 1000 + "}"
    answer = await http.post(f"{N}/x/snapshots", content=body)
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize("mebibytes", [65, 150])
async def test_a_body_over_the_limit_is_413(http: httpx.AsyncClient, mebibytes: int) -> None:
    body = '{"field": "' + "x" * (mebibytes * 1024 * 1024) + '"}'
    answer = await http.post(f"{N}/x/snapshots", content=body)
    assert (answer.status_code, answer.json()["error"]) == (413, "payload_too_large")


async def test_upstream_errors_are_relayed_verbatim(http: httpx.AsyncClient) -> None:
    answer = await http.post(
        f"{N}/never-written/query", json={"rank_by": ["id", "asc"], "top_k": 1}
    )
    assert answer.status_code == 404
    assert answer.json()["status"] == "error"


@pytest.mark.parametrize("limit", ["501", "2147483647", "2147483648", "9" * 40])
async def test_a_limit_of_any_size_is_capped(http: httpx.AsyncClient, limit: str) -> None:
    for path in (f"{N}/x/history?limit={limit}", f"/v2/activity/snapshots?since=0&limit={limit}"):
        answer = await http.get(path)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 426),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: x\r\nLong: {'y' * 70_000}\r\n\r\n", 431),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_envoy_itself_refuses_has_our_shape(
    stack: Stack, request_text: str, status: int
) -> None:
    host, port = stack.gateway_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_text.encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = json.loads(await asyncio.wait_for(reader.readexactly(length), 10))
    writer.close()
    assert head.startswith(f"http/1.1 {status} ")
    assert "content-type: application/json" in head
    assert body.keys() == {"error", "message"}
    assert body["error"] == ("not_implemented" if status == 501 else "bad_request")
