"""Queries through Envoy with the tap and without it.

Envoy (one worker), the upstream, the load and a real SearchLogService share this machine's cores.
At a fixed rate, with an upstream that takes as long as Turbopuffer does, the figure is what users
feel. At saturation, with an upstream that takes no time, it is how many queries a gateway of that
size serves; the CPU time of a query in each process does not depend on who else is busy.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvloop
import yaml

from services.cli.processes import Child, stop_child
from services.cli.stack import Stack, http_ready
from services.gateway.render import render_config
from services.gateway.settings import GatewaySettings
from tests.bench.http_load import Load, paced, saturating, serve
from tests.e2e.stacks import free_ports, stack_settings

_ROUNDS = 3
_DIMENSIONS = (8, 1536)
_PER_SECOND = 500
_PACED = 1_500
_UPSTREAM_SECONDS = 0.01
_SATURATING = 4_000
_CONNECTIONS = 16
_SETTLE_SECONDS = 1.5
"""After a round, until SearchLogService has stored what it was sent."""
_TAP = "layer.tap"


@dataclass(frozen=True)
class Gateway:
    """A running Envoy."""

    port: int
    admin: int
    pid: int


@dataclass(frozen=True)
class Measured:
    """A round, and the CPU microseconds of a query in Envoy and in SearchLogService."""

    load: Load
    envoy_us: float
    searchlog_us: float


def response() -> bytes:
    """Ten rows, as an upstream answers."""
    rows = [{"id": f"asin-{n}", "$dist": n / 7, "title": f"headphones {n}"} for n in range(10)]
    body = json.dumps({"rows": rows}, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


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
    return head.encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def envoy(
    folder: Path, upstream: int, searchlog: int, *, tapped: bool
) -> AsyncIterator[Gateway]:
    """Envoy with the gateway's configuration, whole or without the tap."""
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
        yield Gateway(port, admin, process.pid)
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


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads of a process so far (proc_pid_schedstat: nanoseconds)."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


async def measure(gateway: Gateway, searchlog: int, run: Awaitable[Load]) -> Measured:
    """A round and what it cost."""
    before = cpu_seconds(gateway.pid), cpu_seconds(searchlog)
    load = await run
    await asyncio.sleep(_SETTLE_SECONDS)
    after = cpu_seconds(gateway.pid), cpu_seconds(searchlog)
    envoy_us, searchlog_us = (
        (b - a) / len(load.seconds) * 1e6 for a, b in zip(before, after, strict=True)
    )
    return Measured(load, envoy_us, searchlog_us)


async def compare(
    gateways: dict[str, Gateway], searchlog: int, run: Callable[[int], Awaitable[Load]]
) -> None:
    """Rounds in turns; medians of their rates and costs, and percentiles of all times."""
    rounds: dict[str, list[Measured]] = {name: [] for name in gateways}
    for number in range(_ROUNDS + 1):
        for name, gateway in gateways.items():
            measured = await measure(gateway, searchlog, run(gateway.port))
            if number:  # The first is for warming up.
                rounds[name].append(measured)
    baseline: tuple[float, float] | None = None
    for name in reversed(gateways):
        found = rounds[name]
        rate = statistics.median(m.load.rate for m in found)
        cuts = statistics.quantiles([s for m in found for s in m.load.seconds], n=100)
        p50, p99 = cuts[49] * 1000, cuts[98] * 1000
        baseline = baseline or (rate, p99)
        print(
            f"    {name:<12} {rate:>7,.0f} queries/s {rate / baseline[0]:>5.2f}x"
            f"   p50 {p50:>6.2f} ms  p99 {p99:>6.2f} ms {p99 / baseline[1]:>5.2f}x"
            f"   CPU: Envoy {statistics.median(m.envoy_us for m in found):>4.0f} us,"
            f" SearchLogService {statistics.median(m.searchlog_us for m in found):>4.0f} us"
        )


async def access_log_counts(admin: int) -> str:
    async with httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{admin}/stats?filter=logs_(written|dropped)"
        lines = (await client.get(url)).text.split("\n")
    return ", ".join(line.rpartition("logs_")[2] for line in lines if line)


async def compare_both(
    folder: Path, stack: Stack, upstream_seconds: float, title: str, saturated: bool
) -> None:
    """With the tap and without, at every size."""
    server, upstream = await serve(response(), after_seconds=upstream_seconds)
    port, searchlog = stack.port("searchlog"), stack.children["searchlog"].process.pid
    async with (
        envoy(folder, upstream, port, tapped=True) as with_tap,
        envoy(folder, upstream, port, tapped=False) as without,
    ):
        gateways = {"with the tap": with_tap, "without": without}
        for dimensions in _DIMENSIONS:
            query = request(dimensions)
            print(f"  {title}; {dimensions} dimensions, {len(query):,} bytes")

            def run(port: int, query: bytes = query) -> Awaitable[Load]:
                if saturated:
                    return saturating(port, query, requests=_SATURATING, connections=_CONNECTIONS)
                return paced(port, query, requests=_PACED, per_second=_PER_SECOND)

            await compare(gateways, searchlog, run)
        print(f"    Envoy's access log: {await access_log_counts(with_tap.admin)}")
    server.close()


async def _main() -> None:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        stack = Stack(stack_settings(folder, folder))
        try:
            await stack.start_one("searchlog")
            title = f"{_PER_SECOND} a second, upstream {_UPSTREAM_SECONDS * 1000:.0f} ms"
            await compare_both(folder, stack, _UPSTREAM_SECONDS, title, saturated=False)
            title = f"as many as it can, {_CONNECTIONS} connections, upstream 0 ms"
            await compare_both(folder, stack, 0.0, title, saturated=True)
        finally:
            await stack.stop()


def main() -> None:
    """Print both at two sizes, and the ratios."""
    uvloop.run(_main())


if __name__ == "__main__":
    main()
