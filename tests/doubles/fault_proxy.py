"""A TCP proxy before a real server: it passes, dawdles, asks to slow down, or is not there."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

__all__ = ["FaultProxy"]

_CHUNK_BYTES = 65_536
# The methods that S3 clients use; a body's later chunks start otherwise.
_METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")
_SLOW_DOWN_BODY = b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: "
    b"%d\r\n\r\n%s" % (len(_SLOW_DOWN_BODY), _SLOW_DOWN_BODY)
)


class FaultProxy:
    """Forwards to an HTTP server. The state may be changed at any moment.

    `down` cuts every connection, also those that are open; `delay_seconds` is added to each
    request; that share of the requests which `slow_down_rate` says is answered 503 SlowDown.
    """

    def __init__(self, target_url: str, *, seed: int = 1) -> None:
        parts = urlsplit(target_url)
        assert parts.hostname
        assert parts.port
        self.delay_seconds = 0.0
        self.slow_down_rate = 0.0
        self.slowed_down = 0
        self.refused = 0
        self._rng = random.Random(seed)
        self._target = (parts.hostname, parts.port)
        self._down = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def down(self) -> None:
        self._down = True
        for writer in self._writers:
            writer.transport.abort()

    def up(self) -> None:
        self._down = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.down()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            self.refused += 1
            writer.transport.abort()
            return
        self._writers.add(writer)
        # Cut off on either side, in the middle of anything: that is what it is for.
        with suppress(OSError):
            target_reader, target_writer = await asyncio.open_connection(*self._target)
            back = asyncio.create_task(self._answers(target_reader, writer))
            await self._requests(reader, target_writer, writer)
            await back
        self._writers.discard(writer)
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                if data.startswith(_METHODS):
                    await asyncio.sleep(self.delay_seconds)
                    if self._rng.random() < self.slow_down_rate:
                        self.slowed_down += 1
                        await _skip_body(data, reader)
                        client.write(_SLOW_DOWN)
                        continue
                target.write(data)
                await target.drain()
        target.close()


async def _skip_body(start: bytes, reader: asyncio.StreamReader) -> None:
    """Read on to the end of a request of which this is the start."""
    head, _, body = start.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]) - len(body))
