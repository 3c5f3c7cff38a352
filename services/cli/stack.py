"""The embedded stack: which processes there are, where they listen and what they share."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.cli.processes import Child, ProcessGroup, stop_child
from services.edge.settings import Port

__all__ = ["Stack", "StackError", "StackSettings", "death_notice", "http_ready"]

_READY_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 15.0
ROOT: Final = Path(__file__).resolve().parents[2]


class StackSettings(BaseSettings):
    """Ports and folders of `layer up`. All processes listen on 127.0.0.1."""

    model_config = SettingsConfigDict(env_prefix="LAYER_", frozen=True, extra="ignore")

    port: Port = Field(8080, description="Port that Envoy listens on.")
    snapshot_port: Port = Field(8081, description="Port of SnapshotService.")
    history_port: Port = Field(8082, description="Port of HistoryService.")
    searchlog_port: Port = Field(8083, description="Port of SearchLogService.")
    document_port: Port = Field(8084, description="Port of DocumentService.")
    devstore_port: Port = Field(8085, description="Port of the development upstream.")
    envoy_admin_port: Port = Field(8090, description="Port of Envoy's admin page.")
    metrics_port: int = Field(
        0,
        ge=0,
        le=65_000,
        description="First of the ports for Prometheus metrics, one a process; 0: none.",
    )
    data_dir: Path = Field(
        Path(".layer"), description="Folder for everything that `layer up` keeps."
    )
    index_folder: Path = Field(
        ROOT / "deploy" / "local" / "indexes",
        description="Folder of YAML files with `Index` resources.",
    )

    def ports(self) -> Mapping[str, int]:
        """Every port by its variable, but for those of metrics."""
        return {
            f"LAYER_{name.upper()}": value
            for name, value in self.model_dump().items()
            if name.endswith("port") and name != "metrics_port"
        }


class StackError(Exception):
    """The stack cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class _Process:
    name: str
    module: str
    port: int
    grpc_health: bool = True


class Stack:
    """Starts the processes in the order of their needs and knows when each is ready."""

    def __init__(self, settings: StackSettings, overrides: Mapping[str, str] | None = None) -> None:
        """Args:
        settings: ports and folders.
        overrides: variables for the children that win over everything.
        """
        data = settings.data_dir.resolve()
        self._settings = settings
        self._processes = {
            process.name: process
            for process in (
                _Process(
                    "devstore", "services.devstore", settings.devstore_port, grpc_health=False
                ),
                _Process("searchlog", "services.searchlog", settings.searchlog_port),
                _Process("snapshot", "services.snapshot", settings.snapshot_port),
                _Process("history", "services.history", settings.history_port),
                _Process("document", "services.document", settings.document_port),
                _Process("gateway", "services.gateway", settings.port, grpc_health=False),
            )
        }
        self.environment: Mapping[str, str] = {
            **_environment(settings, data),
            **(overrides or {}),
        }
        """What the children read."""
        self._group = ProcessGroup(self.environment, data / "logs")

    @property
    def gateway_url(self) -> str:
        """Where clients go."""
        return f"http://127.0.0.1:{self._settings.port}"

    @property
    def devstore_url(self) -> str:
        """The development upstream itself."""
        return f"http://127.0.0.1:{self._settings.devstore_port}"

    @property
    def children(self) -> Mapping[str, Child]:
        """The running children by name."""
        return self._group.children

    def port(self, name: str) -> int:
        """Where one child listens."""
        return self._processes[name].port

    def metrics_port(self, name: str) -> int:
        """Where one child has its metrics; 0: nowhere."""
        first = self._settings.metrics_port
        with_metrics = [each for each in self._processes if each != "devstore"]
        return first + with_metrics.index(name) if first and name in with_metrics else 0

    async def start(self) -> None:
        """Start everything and wait until each is ready.

        Raises:
            StackError: a port is taken, or a child ended or was not ready in time.
        """
        for variable, port in self._settings.ports().items():
            await _check_free(variable, port)
        for name in self._processes:
            await self.start_one(name)

    async def start_one(self, name: str) -> None:
        """Start one child, which must not be running, and wait until it is ready.

        Raises:
            StackError: it ended, or was not ready in time.
        """
        process = self._processes[name]
        metrics = {"LAYER_METRICS_PORT": str(self.metrics_port(name))}
        child = await self._group.start(name, process.module, metrics)
        deadline = asyncio.get_running_loop().time() + _READY_SECONDS
        while not await self._ready(process):
            if child.process.returncode is not None:
                raise StackError(death_notice(child))
            if asyncio.get_running_loop().time() > deadline:
                raise StackError(
                    f"{name} was not ready within {_READY_SECONDS:.0f} s; its log: {child.log}"
                )
            await asyncio.sleep(_POLL_SECONDS)

    async def stop_one(self, name: str) -> None:
        """SIGTERM one child and wait for it."""
        await stop_child(self._group.children[name], _GRACE_SECONDS)

    async def kill_one(self, name: str) -> None:
        """SIGKILL one child and wait for it."""
        child = self._group.children[name]
        child.process.kill()
        await child.process.wait()

    async def first_death(self) -> Child:
        """The first child that ends."""
        return await self._group.first_death()

    async def stop(self) -> None:
        """Stop all children, the gateway first."""
        await self._group.stop(_GRACE_SECONDS)

    async def _ready(self, process: _Process) -> bool:
        if process.grpc_health:
            return await _grpc_ready(process.port)
        path = "/readyz" if process.name == "gateway" else "/dev/v1/health"
        return await http_ready(f"http://127.0.0.1:{process.port}{path}")


def death_notice(child: Child) -> str:
    """Which child ended and how, with its last words."""
    return (
        f"{child.name} ended with status {child.process.returncode}; "
        f"the end of {child.log}:\n{child.last_words()}"
    )


def _environment(settings: StackSettings, data: Path) -> Mapping[str, str]:
    """What the children read; variables that are set already win, except for addresses."""
    defaults = {
        "LAYER_OBJECT_STORE": f"file://{data / 'objects'}",
        "LAYER_CACHE": f"lmdb://{data / 'cache'}",
        "LAYER_CACHE_MEBIBYTES": "512",
        "LAYER_SPOOL_DIR": str(data / "spool"),
        "LAYER_DEVSTORE_DATA_DIR": str(data / "devstore"),
        # One machine and one user: see changes soon rather than save metadata calls.
        "LAYER_WATCH_STABLE_SECONDS": "2",
        "LAYER_POLICY_REFRESH_SECONDS": "2",
        "LAYER_SNAPSHOT_MIN_INTERVAL_MS": "2000",
        # The development upstream takes any key.
        "TURBOPUFFER_API_KEY": secrets.token_hex(16),
        "TURBOPUFFER_BASE_URL": f"http://127.0.0.1:{settings.devstore_port}",
    }
    addresses = {
        f"LAYER_{name.upper()}_ADDRESS": f"127.0.0.1:{port}"
        for name, port in (
            ("snapshot", settings.snapshot_port),
            ("history", settings.history_port),
            ("searchlog", settings.searchlog_port),
            ("document", settings.document_port),
        )
    }
    ports = {variable: str(port) for variable, port in settings.ports().items()}
    folders = {"LAYER_INDEX_FOLDER": str(settings.index_folder)}
    inherited = dict(os.environ)  # noqa: TID251 - children read their own settings from it
    return {**defaults, **inherited, **addresses, **ports, **folders}


async def _check_free(variable: str, port: int) -> None:
    try:
        server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", port)
    except OSError:
        raise StackError(f"port {port} is in use: set {variable} to another") from None
    server.close()
    await server.wait_closed()


async def http_ready(url: str) -> bool:
    try:
        async with httpx.AsyncClient(timeout=2.0) as client:
            return (await client.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def _grpc_ready(port: int) -> bool:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2.0)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
