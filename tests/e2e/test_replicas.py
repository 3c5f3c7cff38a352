"""Two replicas of SnapshotService behind one gateway: a job is found where it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import httpx
import pytest
import pytest_asyncio
from layer.snapshot.v2 import snapshot_pb2, snapshot_pb2_grpc

from services.cli.processes import ProcessGroup
from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import all_healthy, free_ports, snapshot_of, stack_settings

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

NAMESPACES = [f"tenant-{number}" for number in range(12)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, int]]:
    """A stack with a second SnapshotService, and that one's port."""
    folder: Path = tmp_path_factory.mktemp("replicated")
    (folder / "indexes").mkdir()
    settings = stack_settings(folder, folder / "indexes")
    (second,) = free_ports(1)
    addresses = f"127.0.0.1:{settings.snapshot_port},127.0.0.1:{second}"
    stack = Stack(settings, {"LAYER_SNAPSHOT_ADDRESS": addresses})
    # The second needs the stores and the upstream of the first, and a port of its own.
    variables = {**stack.environment, "LAYER_SNAPSHOT_PORT": str(second)}
    group = ProcessGroup(variables, folder / "logs")
    try:
        await stack.start()
        await group.start("snapshot-2", "services.snapshot")
        yield stack, second
    finally:
        await group.stop(10)
        await stack.stop()


async def jobs_at(port: int, namespace: str) -> int:
    """How many of a namespace's jobs one replica remembers."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = snapshot_pb2_grpc.SnapshotServiceStub(channel)
        request = snapshot_pb2.ListSnapshotJobsRequest(namespace=namespace)
        answer = await stub.ListSnapshotJobs(request, wait_for_ready=True, timeout=20)
        return len(answer.snapshot_jobs)


async def test_jobs_are_found_whichever_replica_runs_them(replicated: tuple[Stack, int]) -> None:
    stack, second = replicated
    await jobs_at(second, "x")

    await all_healthy(stack, "snapshot", 2)
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as client:
        await asyncio.gather(*(write(stack, name, ROWS[:5]) for name in NAMESPACES))
        for name in NAMESPACES:
            # Each read of the job goes through the gateway anew; none may miss it.
            done = await snapshot_of(client, name, field="color", source="origin")
            assert done["status"] == "completed"
    first = [await jobs_at(stack.port("snapshot"), name) for name in NAMESPACES]
    other = [await jobs_at(second, name) for name in NAMESPACES]
    assert [a + b for a, b in zip(first, other, strict=True)] == [1] * len(NAMESPACES)
    # Twelve namespaces all on one of two replicas would be a hash that does not spread.
    assert sum(first) > 0
    assert sum(other) > 0
