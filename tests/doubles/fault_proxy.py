"""A TCP proxy before a real server: it passes, dawdles, or is not there."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

__all__ = ["FaultProxy"]

_CHUNK_BYTES = 65_536


class FaultProxy:
    """Forwards to an HTTP server. The state may be changed at any moment.

    `down` cuts every connection, also those that are open; `delay_seconds` is added to each
    request.
    """

    def __init__(self, target_url: str) -> None:
        parts = urlsplit(target_url)
        assert parts.hostname
        assert parts.port
        self.delay_seconds = 0.0
        self.refused = 0
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
            back = asyncio.create_task(self._copy(target_reader, writer))
            await self._copy(reader, target_writer, delayed=True)
            await back
        self._writers.discard(writer)
        writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, delayed: bool = False
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                # The methods that S3 clients use; a body's later chunks start otherwise.
                if delayed and data.startswith((b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")):
                    await asyncio.sleep(self.delay_seconds)
                writer.write(data)
                await writer.drain()
        writer.close()
