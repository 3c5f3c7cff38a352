"""An HTTP server that answers like S3 on its worst days."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Self

__all__ = ["LOST", "ScriptedS3Server", "s3_error", "torn"]

LOST = b""
"""No answer: the connection is closed once the request was read."""


def s3_error(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>secret-host said no</Message></Error>".encode()
    return _response(status, body)


def torn(body: bytes) -> bytes:
    """A good answer that ends in the middle of its body."""
    return _response(200, body)[: -len(body) // 2]


def _response(status: int, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@dataclass
class ScriptedS3Server:
    """Gives the scripted answers in turn, whatever is asked; silence once there are none."""

    answers: deque[bytes] = field(default_factory=deque)
    requests: int = 0
    target: str = ""
    """Path and query of the last request."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the last request, with names in small letters."""
    body: bytes = b""
    """Of the last request."""
    _server: asyncio.Server | None = None
    _silent: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def ok(self, body: bytes) -> None:
        self.answers.append(_response(200, body))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        for writer in self._silent:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._read_request(reader)
        self.requests += 1
        if not self.answers:
            self._silent.add(writer)
            return
        writer.write(self.answers.popleft())
        await writer.drain()
        writer.close()

    async def _read_request(self, reader: asyncio.StreamReader) -> None:
        line = await reader.readline()
        self.target, self.headers = line.decode().split(" ")[1], {}
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()
        self.body = await reader.readexactly(int(self.headers.get("content-length", 0)))
