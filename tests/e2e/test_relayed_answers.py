"""Whatever Turbopuffer answers reaches its caller as it is: errors, headers, waits, retries."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
import turbopuffer
from aiohttp import web
from turbopuffer import AsyncTurbopuffer

from tests.doubles.recording_upstream import Answer
from tests.e2e.conftest import Relay
from tests.e2e.stacks import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMESPACE = "/v2/namespaces/relayed"
REQUESTS = [
    ("POST", f"{NAMESPACE}/query"),
    ("POST", NAMESPACE),
    ("DELETE", NAMESPACE),
    ("GET", "/v1/namespaces/relayed/schema"),
    ("GET", "/v1/namespaces"),
]
WRITTEN = {
    "status": "OK",
    "message": "documents written",
    "rows_affected": 1,
    "billing": {"billable_logical_bytes_written": 8},
}


@pytest_asyncio.fixture(loop_scope="session")
async def http(relay: Relay) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=relay.url, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def sdk(relay: Relay) -> AsyncIterator[AsyncTurbopuffer]:
    async with AsyncTurbopuffer(base_url=relay.url, api_key="callers-own") as client:
        yield client


def answers(*script: tuple[int, object, dict[str, str]]) -> Answer:
    """Status, JSON body and headers: each once, the last for ever."""
    left = list(script)

    async def answer(_request: web.Request) -> web.StreamResponse:
        status, body, headers = left.pop(0) if len(left) > 1 else left[0]
        return web.json_response(body, status=status, headers=headers)

    return answer


def failure(status: int, message: str, **headers: str) -> tuple[int, object, dict[str, str]]:
    """In Turbopuffer's shape."""
    return status, {"status": "error", "error": message}, headers


HEADERS = {
    "retry-after": "7",
    "retry-after-ms": "7123",
    "x-should-retry": "false",
    "location": "/v1/namespaces/relayed/operations/tpuf-1",
    "preference-applied": "respond-async",
    "server": "tpuf",
    "date": "Wed, 25 Nov 2026 08:00:00 GMT",
    "x-tpuf-anything": "at all",
    "content-type": "application/json; charset=utf-8",
}
STATUSES = [202, *range(400, 405), 408, 409, 413, 418, 422, 429, *range(500, 505)]


@pytest.mark.parametrize(("method", "path"), REQUESTS, ids=[" ".join(r) for r in REQUESTS])
async def test_statuses_headers_and_bodies_are_the_upstreams(
    relay: Relay, http: httpx.AsyncClient, method: str, path: str
) -> None:
    # Its white space and its own shape stay, too.
    body = b'{ "status": "error",  "error": "\xf0\x9f\xa4\xb7 no" }'

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=int(request.query["status"]), body=body, headers=HEADERS)

    relay.upstream.answer = answer
    for status in STATUSES:
        content = b"{}" if method == "POST" else None
        relayed = await http.request(method, path, params={"status": status}, content=content)
        assert (relayed.status_code, relayed.content) == (status, body)
        traceparent = {"traceparent": relayed.headers["traceparent"]}
        assert dict(relayed.headers) == {
            **HEADERS,
            **traceparent,
            "content-length": str(len(body)),
        }


async def test_a_bare_answer_stays_bare(relay: Relay, http: httpx.AsyncClient) -> None:
    """As of a load balancer before Turbopuffer."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=502, body=b"<html>bad</html>", content_type="text/html")

    relay.upstream.answer = answer
    relayed = await http.post(f"{NAMESPACE}/query", content=b"{}")
    assert (relayed.status_code, relayed.content) == (502, b"<html>bad</html>")
    assert relayed.headers["content-type"] == "text/html"


async def test_no_answer_at_all_is_an_error_of_our_shape(
    relay: Relay, http: httpx.AsyncClient, sdk: AsyncTurbopuffer
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    relay.upstream.answer = answer
    for method, path in REQUESTS:
        relayed = await http.request(method, path)
        assert (relayed.status_code, relayed.json()["error"]) == (502, "upstream_error")
        assert set(relayed.json()) == {"error", "message"}
    with pytest.raises(turbopuffer.InternalServerError):
        await sdk.with_options(max_retries=0).namespace("relayed").schema()


async def test_the_sdk_waits_as_long_as_it_is_told(relay: Relay, sdk: AsyncTurbopuffer) -> None:
    relay.upstream.answer = answers(
        failure(429, "busy", **{"retry-after-ms": "20"}), (200, WRITTEN, {})
    )
    written = await sdk.namespace("relayed").write(upsert_rows=[{"id": 1}])
    assert written.rows_affected == 1
    counts = [each.headers["x-stainless-retry-count"] for each in relay.upstream.received]
    assert counts == ["0", "1"]


async def test_the_sdk_gives_up_when_it_is_told(relay: Relay, sdk: AsyncTurbopuffer) -> None:
    relay.upstream.answer = answers(failure(503, "leave me", **{"x-should-retry": "false"}))
    with pytest.raises(turbopuffer.InternalServerError, match="leave me") as failed:
        await sdk.namespace("relayed").write(upsert_rows=[{"id": 1}])
    assert failed.value.status_code == 503
    assert len(relay.upstream.received) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, turbopuffer.BadRequestError),
        (401, turbopuffer.AuthenticationError),
        (403, turbopuffer.PermissionDeniedError),
        (404, turbopuffer.NotFoundError),
        (409, turbopuffer.ConflictError),
        (422, turbopuffer.UnprocessableEntityError),
        (429, turbopuffer.RateLimitError),
        (500, turbopuffer.InternalServerError),
    ],
)
async def test_the_sdks_errors(
    relay: Relay, sdk: AsyncTurbopuffer, status: int, error: type[turbopuffer.APIStatusError]
) -> None:
    relay.upstream.answer = answers(failure(status, "why it failed"))
    once = sdk.with_options(max_retries=0).namespace("relayed")
    with pytest.raises(error) as failed:
        await once.query(rank_by=("id", "asc"), top_k=1)
    assert failed.value.status_code == status
    assert failed.value.body == {"status": "error", "error": "why it failed"}


async def test_an_asynchronous_operation_is_polled(relay: Relay, sdk: AsyncTurbopuffer) -> None:
    """`Prefer: respond-async`, which the SDK sends with every call."""
    operation = "/v1/namespaces/relayed/operations/tpuf-1"
    copied = {**WRITTEN, "message": "namespace cloned successfully"}
    relay.upstream.answer = answers(
        (202, {"token": "tpuf-1"}, {"preference-applied": "respond-async", "location": operation}),
        (200, {"status": "running"}, {}),
        (200, {"status": "finished", "result": {"success": copied}}, {}),
    )
    answer = await sdk.namespace("relayed").copy_from(source_namespace="source")
    assert answer.message == "namespace cloned successfully"
    first, *polls = relay.upstream.received
    assert first.headers["prefer"] == "respond-async"
    assert json.loads(first.body) == {"copy_from_namespace": {"source_namespace": "source"}}
    assert [(each.method, each.target) for each in polls] == [("GET", operation)] * 2


async def test_an_asynchronous_operation_that_fails(relay: Relay, sdk: AsyncTurbopuffer) -> None:
    headers = {"preference-applied": "respond-async", "location": "/v1/namespaces/r/operations/t"}
    detail = {"status": "error", "error": "destination namespace already exists"}
    result = {"error": {"status_code": 400, "detail": detail}}
    relay.upstream.answer = answers(
        (202, {"token": "t"}, headers), (200, {"status": "finished", "result": result}, {})
    )
    with pytest.raises(turbopuffer.BadRequestError, match="destination namespace already exists"):
        await sdk.namespace("r").copy_from(source_namespace="source")


async def test_a_slow_answer_is_waited_for_and_the_clients_timeout_is_its_own(
    relay: Relay, sdk: AsyncTurbopuffer
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3)
        return web.json_response(WRITTEN)

    relay.upstream.answer = answer
    hasty = sdk.with_options(max_retries=0, timeout=0.4).namespace("relayed")
    started = time.monotonic()
    with pytest.raises(turbopuffer.APITimeoutError):
        await hasty.write(upsert_rows=[{"id": 1}])
    assert time.monotonic() - started < 2

    async def broken_off() -> bool:
        return relay.upstream.received[0].broken_off

    # The upstream is told, and does not work for nobody.
    await eventually(broken_off, bool)
    assert (await sdk.namespace("relayed").write(upsert_rows=[{"id": 1}])).rows_affected == 1


async def test_an_answer_in_drips_is_passed_on_as_it_comes(
    relay: Relay, http: httpx.AsyncClient
) -> None:
    more = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await more.wait()
        await response.write(b" then")
        return response

    relay.upstream.answer = answer
    async with http.stream("POST", f"{NAMESPACE}/query", content=b"{}") as response:
        drips = response.aiter_raw()
        assert await anext(drips) == b"first"
        more.set()
        assert await anext(drips) == b" then"
