"""A server in Turbopuffer's place that remembers what reached it and answers as a test says."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

__all__ = ["Received", "RecordingUpstream", "serve_recording"]

_KEPT_BYTES = 1024 * 1024
_READ_AHEAD_BYTES = 256 * 1024
"""What is read of a body although reading is stopped: enough to know that it has begun."""


@dataclass
class Received:
    """A request as it arrived; it grows while its body does."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: Mapping[str, str]
    """By name, whatever its case."""
    size: int = 0
    crc: int = 0
    body: bytes = b""
    """The first mebibyte."""
    broken_off: bool = False
    """The gateway went away before it was answered."""

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.crc = zlib.crc32(chunk, self.crc)
        self.body += chunk[: max(0, _KEPT_BYTES - len(self.body))]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _nothing(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "OK"})


@dataclass
class RecordingUpstream:
    """What came, and what is answered once a body has come whole."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answer: Answer = _nothing
    reading: asyncio.Event = field(default_factory=asyncio.Event)
    """Bodies are read while it is set."""

    def reset(self) -> None:
        """As new."""
        self.received.clear()
        self.answer = _nothing
        self.reading.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        now = Received(request.method, request.raw_path, request.headers)
        self.received.append(now)
        try:
            async for chunk in request.content.iter_any():
                now.add(chunk)
                if now.size > _READ_AHEAD_BYTES:
                    await self.reading.wait()
            return await self.answer(request)
        except (asyncio.CancelledError, ConnectionError):
            now.broken_off = True
            raise


@asynccontextmanager
async def serve_recording() -> AsyncIterator[RecordingUpstream]:
    """One on a free port, over HTTP/1.1."""
    upstream = RecordingUpstream()
    upstream.reset()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.handle)
    runner = web.AppRunner(
        app, auto_decompress=False, handler_cancellation=True, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        upstream.url = f"http://{host}:{port}"
        yield upstream
    finally:
        await runner.cleanup()
