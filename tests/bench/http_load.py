"""An upstream that answers at once or after a while, and load on it over HTTP/1.1."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

__all__ = ["Load", "paced", "saturating", "serve"]

_END = b"\r\n\r\n"
_DEADLINE_SECONDS = 30


@dataclass(frozen=True)
class Load:
    """What came of some requests.

    Args:
        seconds: of each, from when it was due until its answer was there.
    """

    elapsed: float
    seconds: list[float]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.seconds) / self.elapsed


class _Messages(asyncio.Protocol):
    """Cuts HTTP/1.1 messages with a content length out of what arrives."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(_END)) >= 0:
            head = bytes(self._data[:end]).lower()
            at = head.index(b"content-length:") + len(b"content-length:")
            whole = end + len(_END) + int(head[at:].split(b"\r\n", 1)[0])
            if len(self._data) < whole:
                return
            del self._data[:whole]
            self.message(head)

    def message(self, head: bytes) -> None:
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class _Answering(_Messages):
    def __init__(self, answer: bytes, after_seconds: float) -> None:
        super().__init__()
        self._answer = answer
        self._after_seconds = after_seconds

    def message(self, head: bytes) -> None:
        del head
        if self._after_seconds:
            asyncio.get_running_loop().call_later(self._after_seconds, self.send, self._answer)
        else:
            self.send(self._answer)


async def serve(answer: bytes, *, after_seconds: float = 0.0) -> tuple[asyncio.Server, int]:
    """A server on 127.0.0.1 that answers everything so; its port."""
    server = await asyncio.get_running_loop().create_server(
        lambda: _Answering(answer, after_seconds), "127.0.0.1", 0
    )
    return server, server.sockets[0].getsockname()[1]


@dataclass
class _Round:
    request: bytes
    left: int
    seconds: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class _Asking(_Messages):
    """One request at a time on a connection; tells when it is answered."""

    def __init__(self, answered: Callable[[_Asking, float], None]) -> None:
        super().__init__()
        self._answered = answered
        self._due = 0.0

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self.send(request)

    def message(self, head: bytes) -> None:
        assert head.startswith(b"http/1.1 200"), head
        self._answered(self, time.perf_counter() - self._due)


async def _connections(
    port: int, count: int, answered: Callable[[_Asking, float], None]
) -> list[_Asking]:
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Asking(answered), "127.0.0.1", port)
        for _ in range(count)
    ]
    return [protocol for _, protocol in made]


def _close(connections: list[_Asking]) -> None:
    for connection in connections:
        assert connection.transport is not None
        connection.transport.close()


async def saturating(port: int, request: bytes, *, requests: int, connections: int) -> Load:
    """As fast as it goes: the next request of a connection follows the answer to the last one."""
    work = _Round(request, requests)

    def next_on(connection: _Asking) -> None:
        if work.left:
            work.left -= 1
            connection.ask(work.request, time.perf_counter())

    def answered(connection: _Asking, seconds: float) -> None:
        work.seconds.append(seconds)
        if len(work.seconds) == requests:
            work.done.set()
        next_on(connection)

    opened = await _connections(port, connections, answered)
    started = time.perf_counter()
    for connection in opened:
        next_on(connection)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await work.done.wait()
    elapsed = time.perf_counter() - started
    _close(opened)
    return Load(elapsed, work.seconds)


async def paced(port: int, request: bytes, *, requests: int, per_second: int) -> Load:
    """At a fixed rate, whatever the answers take: one that is late does not delay the next one,
    and what waits for a free connection counts as waiting."""
    work = _Round(request, requests)
    idle: deque[_Asking] = deque()
    waiting: deque[float] = deque()

    def answered(connection: _Asking, seconds: float) -> None:
        work.seconds.append(seconds)
        if len(work.seconds) == requests:
            work.done.set()
        if waiting:
            connection.ask(work.request, waiting.popleft())
        else:
            idle.append(connection)

    opened = await _connections(port, max(per_second // 20, 4), answered)
    idle.extend(opened)
    started = time.perf_counter()
    for number in range(requests):
        due = started + number / per_second
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        if idle:
            idle.popleft().ask(work.request, due)
        else:
            waiting.append(due)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        await work.done.wait()
    elapsed = time.perf_counter() - started
    _close(opened)
    return Load(elapsed, work.seconds)
