"""A real stack for a test: Envoy, the services and the development upstream, on free ports."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from services.cli.stack import Stack, StackSettings

__all__ = [
    "all_healthy",
    "eventually",
    "free_port_row",
    "running_stack",
    "snapshot_of",
    "stack_settings",
]

_T = TypeVar("_T")


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def free_port_row(count: int) -> int:
    """The first of so many ports in a row that were free a moment ago, below those that the system
    gives to clients."""
    for _ in range(100):
        first = random.randrange(15_000, 30_000)
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise OSError(f"no {count} free ports in a row")


def stack_settings(folder: Path, index_folder: Path, metrics_port: int = 0) -> StackSettings:
    """Settings with free ports and everything kept below `folder`."""
    names = [name for name in StackSettings.model_fields if name.endswith("port")]
    names.remove("metrics_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return StackSettings.model_validate(
        {
            **ports,
            "metrics_port": metrics_port,
            "data_dir": folder / "data",
            "index_folder": index_folder,
        }
    )


@asynccontextmanager
async def running_stack(
    folder: Path, overrides: Mapping[str, str] | None = None, *, metrics_port: int = 0
) -> AsyncIterator[Stack]:
    """A stack that is ready; its Index folder is `folder/indexes`."""
    indexes = folder / "indexes"
    indexes.mkdir(exist_ok=True)
    stack = Stack(stack_settings(folder, indexes, metrics_port), overrides)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


async def all_healthy(stack: Stack, cluster: str, count: int) -> None:
    """Wait until the gateway sees so many replicas: it routes to others while it sees fewer."""

    async def healthy() -> int:
        address = f"http://127.0.0.1:{stack.environment['LAYER_ENVOY_ADMIN_PORT']}"
        async with httpx.AsyncClient(base_url=address) as admin:
            lines = (await admin.get("/clusters")).text.splitlines()
        return sum(
            line.startswith(f"{cluster}::") and line.endswith("health_flags::healthy")
            for line in lines
        )

    await eventually(healthy, lambda healthy: healthy == count, seconds=30)


async def eventually(
    read: Callable[[], Awaitable[_T]], good: Callable[[_T], bool], seconds: float = 15.0
) -> _T:
    """Read until the answer is good, and that answer; fails with the last one read."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        answer = await read()
        if good(answer):
            return answer
        assert asyncio.get_running_loop().time() < deadline, f"still {answer!r:.1000}"
        await asyncio.sleep(0.05)


async def snapshot_of(client: httpx.AsyncClient, namespace: str, **body: Any) -> dict[str, Any]:
    """Start a job, wait for its end, and answer it."""
    started = await client.post(f"/v2/namespaces/{namespace}/snapshots", json=body)
    assert started.status_code == 202, started.text
    path = f"/v2/namespaces/{namespace}/snapshot-jobs/{started.json()['id']}"

    async def job() -> dict[str, Any]:
        answer: dict[str, Any] = (await client.get(path)).raise_for_status().json()
        return answer

    return await eventually(job, lambda job: job["status"] != "running")
