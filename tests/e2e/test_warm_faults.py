"""Warm jobs of DocumentService processes that are killed midway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import msgspec
import pytest
import pytest_asyncio
from layer.document.v2 import document_pb2 as pb
from layer.document.v2 import document_pb2_grpc

from services.cli.processes import ProcessGroup
from services.cli.stack import Stack
from tests.e2e.conftest import write
from tests.e2e.stacks import all_healthy, eventually, free_ports, stack_settings
from tests.e2e.test_document_cache import cached, fetch

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

_ROWS = 2400
_RATE = 200
_FAR = 1400
"""Documents after which the upstream's last write is known to be the last: 7 s."""
_ROUTED = {"x-layer-namespace": "long"}


class Replicas:
    """A stack with a second DocumentService, either of which can be killed."""

    def __init__(self, stack: Stack, group: ProcessGroup, ports: tuple[int, int]) -> None:
        self._stack = stack
        self._group = group
        self._ports = ports

    async def kill(self, number: int) -> None:
        child = (self._stack.children if number == 0 else self._group.children)[
            ("document", "document-2")[number]
        ]
        child.process.kill()
        await child.process.wait()

    async def start(self, number: int) -> None:
        if number == 0:
            await self._stack.start_one("document")
        else:
            await self._group.start("document-2", "services.document")
            await self.jobs(1, "any", wait=True)

    async def jobs(self, number: int, namespace: str, *, wait: bool = False) -> int:
        """How many of a namespace's jobs one replica knows."""
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._ports[number]}") as channel:
            stub = document_pb2_grpc.DocumentServiceStub(channel)
            request = pb.ListWarmJobsRequest(namespace=namespace)
            return len(
                (await stub.ListWarmJobs(request, wait_for_ready=wait, timeout=20)).warm_jobs
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack_and_replicas(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Stack, Replicas]]:
    folder: Path = tmp_path_factory.mktemp("warming")
    (folder / "indexes").mkdir()
    settings = stack_settings(folder, folder / "indexes")
    (second,) = free_ports(1)
    addresses = f"127.0.0.1:{settings.document_port},127.0.0.1:{second}"
    overrides = {
        "LAYER_DOCUMENT_ADDRESS": addresses,
        "LAYER_WARM_DOCUMENTS_PER_SECOND": str(_RATE),
    }
    stack = Stack(settings, overrides)
    group = ProcessGroup({**stack.environment, "LAYER_DOCUMENT_PORT": str(second)}, folder / "logs")
    replicas = Replicas(stack, group, (settings.document_port, second))
    try:
        await stack.start()
        await replicas.start(1)
        await all_healthy(stack, "document", 2)
        yield stack, replicas
    finally:
        await group.stop(10)
        await stack.stop()


class Gateway:
    """The namespace as its clients see it."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self._stack = stack
        self.http = http

    async def start_job(self) -> dict[str, Any]:
        """Once a replica takes it: the gateway needs some seconds to see that one is gone."""

        async def post() -> httpx.Response:
            return await self.http.post("/v2/namespaces/long/warm?page_size=100")

        answer = await eventually(post, lambda answer: answer.status_code == 202, seconds=30)
        job: dict[str, Any] = answer.json()
        return job

    async def job(self, job_id: str, *, documents: int) -> dict[str, Any]:
        """A job once it has so many documents or has ended."""

        async def read() -> dict[str, Any]:
            path = f"/v2/namespaces/long/warm-jobs/{job_id}"
            answer: dict[str, Any] = (await self.http.get(path)).raise_for_status().json()
            return answer

        return await eventually(
            read,
            lambda job: job["documents_scanned"] >= documents or job["status"] != "running",
            seconds=40,
        )

    async def warm_documents(self) -> list[dict[str, Any]]:
        """What counts from the cache read, as a gRPC client of the gateway."""
        address = self._stack.gateway_url.removeprefix("http://")
        async with grpc.aio.insecure_channel(address) as channel:
            stub = document_pb2_grpc.DocumentServiceStub(channel)
            call = stub.ReadWarmDocuments(
                pb.ReadWarmDocumentsRequest(namespace="long"), metadata=tuple(_ROUTED.items())
            )
            parts = [part async for part in call]
        rows: list[dict[str, Any]] = []
        for part in parts[1:]:
            rows += msgspec.json.decode(part.rows)["rows"]
        assert parts[0].summary.documents == len(rows)
        return rows


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(stack_and_replicas: tuple[Stack, Replicas]) -> AsyncIterator[Gateway]:
    stack, _ = stack_and_replicas
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as http:
        yield Gateway(stack, http)


async def test_jobs_of_killed_processes(
    stack_and_replicas: tuple[Stack, Replicas], gateway: Gateway
) -> None:
    stack, replicas = stack_and_replicas
    rows: list[dict[str, object]] = [{"id": n, "n": n} for n in range(_ROWS)]
    await write(stack, "long", rows)

    first = await gateway.start_job()
    assert first["documents_resumed"] == 0
    await gateway.job(first["id"], documents=_FAR)
    running = 0 if await replicas.jobs(0, "long") else 1
    await replicas.kill(running)

    # The other replica has never heard of the namespace, nor of its writes.
    second = await gateway.start_job()
    assert second["id"] != first["id"]
    going = await gateway.job(second["id"], documents=1)
    assert 1000 <= going["documents_resumed"] <= _ROWS
    hit = await fetch(gateway.http, "long", "7")
    assert (hit.headers["x-layer-cache"], hit.json()["attributes"]) == ("hit", {"n": 7})

    # A write while nobody is there to hear of it: what was cached before is never believed again.
    await replicas.kill(1 - running)
    patched = await gateway.http.post(
        "/v2/namespaces/long", json={"patch_rows": [{"id": 7, "n": -1}]}
    )
    assert patched.status_code == 200
    await replicas.start(running)
    third = await gateway.start_job()
    fresh = await gateway.job(third["id"], documents=1)
    assert (fresh["status"], fresh["documents_resumed"]) == ("running", 0)
    # The gateway still owes the notice of the write; once a fetch has paid it, the job ends.
    assert (await cached(gateway.http, "long", "7")).json()["attributes"] == {"n": -1}
    ended = await gateway.job(third["id"], documents=_ROWS + 1)
    assert (ended["status"], "start again" in ended["error"]) == ("failed", True)

    # And once more a kill, but no write: the watermark stays that of the first document.
    fourth = await gateway.start_job()
    await gateway.job(fourth["id"], documents=_FAR)
    await replicas.kill(running)
    await replicas.start(running)
    last = await gateway.start_job()
    done = await gateway.job(last["id"], documents=_ROWS + 1)
    assert (done["status"], done["documents_scanned"]) == ("completed", _ROWS), done
    assert done["documents_resumed"] >= 1000
    began, resumed = (datetime.fromisoformat(job["created_at"]) for job in (fourth, last))
    stable_as_of = datetime.fromtimestamp(done["stable_as_of"] / 1000, UTC)
    assert began - timedelta(seconds=1) < stable_as_of < resumed - timedelta(seconds=5)
    expected = [{"id": n, "n": -1 if n == 7 else n} for n in range(_ROWS)]
    assert await gateway.warm_documents() == expected
