"""Queries through Envoy with the tap and without it: rate, p50 and p99.

Envoy, the upstream, the load and a real SearchLogService share this machine's cores, so the
ratios count, not the rates.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
import uvloop
import yaml

from services.cli.processes import Child, stop_child
from services.cli.stack import Stack, http_ready
from services.gateway.render import render_config
from services.gateway.settings import GatewaySettings
from tests.e2e.stacks import free_ports, stack_settings

_CONNECTIONS = (2, 32)
"""With few, the cores are not busy; with many, they are."""
_ROUNDS = 3
_QUERIES = 3_000
"""Of one round."""
_DIMENSIONS = (8, 1536)
_TAP = "layer.tap"
_END = b"\r\n\r\n"


def response() -> bytes:
    """Ten rows, as an upstream answers."""
    rows = [{"id": f"asin-{n}", "$dist": n / 7, "title": f"headphones {n}"} for n in range(10)]
    body = json.dumps({"rows": rows}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + _END + body


def request(dimensions: int) -> bytes:
    """A vector query."""
    rng = random.Random(dimensions)
    vector = [round(rng.gauss(0, 1), 7) for _ in range(dimensions)]
    query = {"rank_by": ["vector", "ANN", vector], "top_k": 10, "filters": ["brand", "Eq", "Acme"]}
    body = json.dumps(query).encode()
    head = (
        "POST /v2/namespaces/products/query HTTP/1.1\r\nhost: bench\r\n"
        "content-type: application/json\r\nx-hevlayer-tags: session:bench\r\n"
        f"content-length: {len(body)}"
    )
    return head.encode() + _END + body


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


class _Upstream(_Messages):
    answer = response()

    def message(self, head: bytes) -> None:
        del head
        assert self.transport is not None
        self.transport.write(self.answer)


@dataclass
class _Round:
    """Queries that are left to send, and the times of those that were answered."""

    query: bytes
    left: int = _QUERIES
    seconds: list[float] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class _Client(_Messages):
    """One query at a time on one connection."""

    def __init__(self, work: _Round) -> None:
        super().__init__()
        self._work = work
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._send()

    def message(self, head: bytes) -> None:
        assert head.startswith(b"http/1.1 200"), head
        self._work.seconds.append(time.perf_counter() - self._sent_at)
        self._send()

    def _send(self) -> None:
        assert self.transport is not None
        if self._work.left == 0:
            self.transport.close()
            if len(self._work.seconds) == _QUERIES:
                self._work.done.set()
            return
        self._work.left -= 1
        self._sent_at = time.perf_counter()
        self.transport.write(self._work.query)


@asynccontextmanager
async def envoy(
    folder: Path, upstream: int, searchlog: int, *, tapped: bool
) -> AsyncIterator[tuple[int, int]]:
    """Envoy with the gateway's configuration, whole or without the tap; its port, its admin's."""
    port, admin = free_ports(2)
    settings = GatewaySettings.model_validate(
        {
            "port": port,
            "envoy_admin_port": admin,
            "searchlog_address": f"127.0.0.1:{searchlog}",
            "TURBOPUFFER_BASE_URL": f"http://127.0.0.1:{upstream}",
            "TURBOPUFFER_API_KEY": "bench",
        }
    )
    config = yaml.safe_load(render_config(settings))
    if not tapped:
        _untap(config)
    path = folder / f"envoy-{port}.yaml"
    path.write_text(yaml.safe_dump(config))
    log = folder / f"envoy-{port}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "envoy"),
            *("--config-path", str(path), "--concurrency", "1"),
            *("--disable-hot-restart", "--log-level", "error"),
            env={**os.environ, "TURBOPUFFER_API_KEY": "bench", "LAYER_INTERNAL_KEY": ""},
            stdout=output,
            stderr=output,
        )
    child = Child("envoy", process, log)
    try:
        while not await http_ready(f"http://127.0.0.1:{admin}/ready"):
            assert process.returncode is None, child.last_words()
            await asyncio.sleep(0.05)
        yield port, admin
    finally:
        await stop_child(child, 5.0)


def _untap(part: object) -> None:
    """Take the tap's filter, its routes' settings and the access log out of a configuration."""
    if isinstance(part, dict):
        part.pop("access_log", None)
        part.pop(_TAP, None)
        for value in part.values():
            _untap(value)
    elif isinstance(part, list):
        part[:] = [each for each in part if not (isinstance(each, dict) and _named_tap(each))]
        for each in part:
            _untap(each)


def _named_tap(part: dict[str, object]) -> bool:
    return part.get("name") == _TAP


async def run_round(port: int, query: bytes, connections: int) -> tuple[float, list[float]]:
    """Queries a second, and the time of each."""
    work = _Round(query)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(work), "127.0.0.1", port)
    async with asyncio.timeout(20):
        await work.done.wait()
    return _QUERIES / (time.perf_counter() - started), work.seconds


async def access_log_counts(admin: int) -> str:
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{admin}/stats?filter=logs_(written|dropped)"
        lines = (await client.get(url)).text.split("\n")
    return ", ".join(line.rpartition("logs_")[2] for line in lines if line)


async def _main() -> None:
    server = await asyncio.get_running_loop().create_server(_Upstream, "127.0.0.1", 0)
    upstream = server.sockets[0].getsockname()[1]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        stack = Stack(stack_settings(folder, folder))
        try:
            await stack.start_one("searchlog")
            searchlog = stack.port("searchlog")
            async with (
                envoy(folder, upstream, searchlog, tapped=True) as (with_tap, admin),
                envoy(folder, upstream, searchlog, tapped=False) as (without_tap, _),
            ):
                ports = {"with the tap": with_tap, "without": without_tap}
                for dimensions in _DIMENSIONS:
                    for connections in _CONNECTIONS:
                        await compare(ports, dimensions, connections)
                print(f"  Envoy's access log: {await access_log_counts(admin)}")
        finally:
            await stack.stop()
            server.close()


async def compare(ports: dict[str, int], dimensions: int, connections: int) -> None:
    """Rounds in turns; the median of their rates, and percentiles of all times."""
    query = request(dimensions)
    rates: dict[str, list[float]] = {name: [] for name in ports}
    seconds: dict[str, list[float]] = {name: [] for name in ports}
    for number in range(_ROUNDS + 1):
        for name, port in ports.items():
            rate, times = await run_round(port, query, connections)
            if number:  # The first is for warming up.
                rates[name].append(rate)
                seconds[name] += times
    print(f"  {dimensions} dimensions, {len(query):,} bytes, {connections} connections")
    baseline = statistics.median(rates["without"])
    for name in ports:
        cuts = statistics.quantiles(seconds[name], n=100)
        rate = statistics.median(rates[name])
        print(
            f"    {name:<14} {rate:>8,.0f} queries/s  p50 {cuts[49] * 1000:>6.2f} ms  "
            f"p99 {cuts[98] * 1000:>6.2f} ms  {rate / baseline:>5.2f}x"
        )


def main() -> None:
    """Print both at two sizes, and the ratio."""
    uvloop.run(_main())


if __name__ == "__main__":
    main()
