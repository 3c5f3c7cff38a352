"""Bodies of Turbopuffer's own size limit pass through and are never held.

A receiver that stops reading shows it: the sender is stopped too, once some buffers on the way
are full, and Envoy does not grow.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import sys
import zlib
from collections.abc import Awaitable, Callable

import httpx
import pytest
from aiohttp import web

from tests.e2e.conftest import Relay
from tests.e2e.memory import PeakMemory
from tests.e2e.stacks import eventually
from tests.e2e.uploads import BLOCK, Upload, crc_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in /proc"),
]

MEBIBYTE = 1024 * 1024
LARGEST = 512 * MEBIBYTE
"""Turbopuffer's limit of a write (turbopuffer.com/docs/limits)."""
MAX_GROWTH_MEBIBYTES = 64
"""Of Envoy. It may hold one HTTP/2 window of 16 MiB beside its buffers of 1 MiB; a body that it
held would be eight times as much."""
MAX_ON_THE_WAY = 128 * MEBIBYTE
"""In both sockets' buffers, which the kernel sizes, and in Envoy."""

WRITE = "/v2/namespaces/streamed"
QUERY = "/v2/namespaces/streamed/query"
SENT: dict[str, Callable[[Upload], Awaitable[int]]] = {
    "with a length": lambda upload: upload.http1(chunked=False),
    "in chunks": lambda upload: upload.http1(chunked=True),
    "over HTTP/2": lambda upload: upload.http2(),
}


async def stalled(progress: Callable[[], int]) -> int:
    """The count at which it has stood still for a while."""
    seen = -1
    while (now := progress()) != seen:
        seen = now
        await asyncio.sleep(0.4)
    return seen


@pytest.mark.parametrize("path", [WRITE, QUERY])
@pytest.mark.parametrize("how", SENT)
async def test_a_request_is_not_held(relay: Relay, how: str, path: str) -> None:
    blocks = LARGEST // len(BLOCK)
    upload = Upload(relay.url, path, blocks)
    relay.upstream.reading.clear()
    memory = PeakMemory(relay.envoy_pid)
    answered = asyncio.ensure_future(SENT[how](upload))
    assert await stalled(lambda: upload.sent) < MAX_ON_THE_WAY
    relay.upstream.reading.set()
    assert await answered == 200
    (received,) = relay.upstream.received
    assert (received.size, received.crc) == (LARGEST, crc_of(blocks))
    assert memory.growth_mebibytes < MAX_GROWTH_MEBIBYTES


async def test_a_write_is_not_held_while_it_is_announced(relay: Relay) -> None:
    """The gateway waits for a DocumentService that does not answer, with the body at the door."""
    document = relay.stack.children["document"].process.pid
    blocks = LARGEST // 4 // len(BLOCK)
    memory = PeakMemory(relay.envoy_pid)
    os.kill(document, signal.SIGSTOP)
    try:
        assert await Upload(relay.url, WRITE, blocks).http1(chunked=True) == 200
    finally:
        os.kill(document, signal.SIGCONT)
    assert relay.upstream.received[0].crc == crc_of(blocks)
    assert memory.growth_mebibytes < MAX_GROWTH_MEBIBYTES


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize(("method", "path"), [("POST", QUERY), ("GET", "/v1/namespaces")])
async def test_an_answer_is_not_held(relay: Relay, method: str, path: str, http2: bool) -> None:
    blocks = LARGEST // 2 // len(BLOCK)
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        for _ in range(blocks):
            await response.write(BLOCK)
            sent += len(BLOCK)
        return response

    relay.upstream.answer = answer
    memory = PeakMemory(relay.envoy_pid)
    async with (
        httpx.AsyncClient(base_url=relay.url, http1=not http2, http2=http2, timeout=20) as client,
        client.stream(method, path) as response,
    ):
        assert await stalled(lambda: sent) < MAX_ON_THE_WAY
        crc = 0
        async for chunk in response.aiter_raw():
            crc = zlib.crc32(chunk, crc)
    assert crc == crc_of(blocks)
    assert memory.growth_mebibytes < MAX_GROWTH_MEBIBYTES


@pytest.mark.parametrize("path", [WRITE, QUERY])
async def test_compressed_bodies_arrive_bit_for_bit(relay: Relay, path: str) -> None:
    request, reply = gzip.compress(os.urandom(300_000)), gzip.compress(os.urandom(300_000))

    async def answer(_request: web.Request) -> web.StreamResponse:
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        return web.Response(body=reply, headers=headers)

    relay.upstream.answer = answer
    headers = {"content-encoding": "gzip", "accept-encoding": "gzip"}
    async with (
        httpx.AsyncClient(base_url=relay.url, timeout=20) as client,
        client.stream("POST", path, content=request, headers=headers) as response,
    ):
        answered = b"".join([chunk async for chunk in response.aiter_raw()])
    (received,) = relay.upstream.received
    assert received.body == request
    assert {name: received.headers[name] for name in headers} == headers
    assert received.headers["content-length"] == str(len(request))
    assert answered == reply
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["content-length"] == str(len(reply))


async def test_an_answer_that_breaks_off_is_never_taken_for_whole(relay: Relay) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 2 * len(BLOCK)
        await response.prepare(request)
        await response.write(BLOCK)
        assert request.transport is not None
        request.transport.abort()
        return response

    relay.upstream.answer = answer
    async with httpx.AsyncClient(base_url=relay.url, timeout=20) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(QUERY, content=b"{}")


async def test_a_caller_that_goes_away_is_not_waited_for(relay: Relay) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    relay.upstream.answer = answer
    async with httpx.AsyncClient(base_url=relay.url, timeout=0.5) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(QUERY, content=b"{}")

    async def broken_off() -> bool:
        return relay.upstream.received[0].broken_off

    await eventually(broken_off, bool)
