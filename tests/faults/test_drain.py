"""SIGTERM to the snapshot service, as a process: what it finishes, refuses and gives back."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import yaml
from layer.snapshot.v2 import snapshot_pb2 as pb
from layer.snapshot.v2 import snapshot_pb2_grpc

from services.formats.snapshot_keys import lease_prefix
from services.formats.snapshot_lease import decode_lease
from services.storage.files import FileObjectStore
from tests.doubles.upstream_server import serve_upstream
from tests.unit.snapshot.replicas import NS, GatedUpstream

INDEX = {
    "apiVersion": "hevlayer.com/v1",
    "kind": "Index",
    "metadata": {"name": NS},
    "spec": {"snapshot": {"facetFields": ["color"]}},
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def snapshot_service(
    folder: Path, upstream_url: str, port: int, drain_seconds: float
) -> AsyncIterator[asyncio.subprocess.Process]:
    (folder / "indexes").mkdir()
    (folder / "indexes" / "products.yaml").write_text(yaml.safe_dump(INDEX))
    environment = {
        **os.environ,
        "LAYER_OBJECT_STORE": f"file://{folder / 'objects'}",
        "LAYER_INDEX_FOLDER": str(folder / "indexes"),
        "LAYER_SNAPSHOT_PORT": str(port),
        "LAYER_ORIGIN_STRATEGY": "scan",
        "LAYER_DRAIN_SECONDS": str(drain_seconds),
        "TURBOPUFFER_BASE_URL": upstream_url,
        "TURBOPUFFER_API_KEY": "any",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.snapshot", env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def expiry(folder: Path) -> int:
    """When the lease that is now in force expires; 0: given back."""
    async with FileObjectStore(folder / "objects") as store:
        keys = await store.list(lease_prefix(NS))
        # The highest generation may be replaced between the two calls.
        data = await store.get(keys[-1]) or await store.get(
            (await store.list(lease_prefix(NS)))[-1]
        )
    record = decode_lease(data or b"")
    assert record is not None
    return record.expires_at_ms


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20.0):
        for _ in itertools.count():
            if await condition():
                return
            await asyncio.sleep(0.02)


async def test_sigterm_gives_leases_back_refuses_new_jobs_and_lets_running_ones_end(
    tmp_path: Path,
) -> None:
    upstream = GatedUpstream(NS, [{"id": 1, "color": "red"}])
    upstream.gate.clear()
    port = free_port()
    create = pb.CreateSnapshotRequest(namespace=NS, field="color", source="origin")

    async def both_scan() -> bool:
        return len(upstream.requests) == 2

    async def lease_is_free() -> bool:
        return await expiry(tmp_path) == 0

    async with (
        serve_upstream(upstream) as url,
        snapshot_service(tmp_path, url, port, 30.0) as process,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        stub = snapshot_pb2_grpc.SnapshotServiceStub(channel)
        # The watcher's scan, which holds a lease, and a manual job's.
        await upstream.scanning.wait()
        job = await stub.CreateSnapshot(create, wait_for_ready=True)
        await until(both_scan)
        assert not await lease_is_free()

        process.send_signal(signal.SIGTERM)
        await until(lease_is_free)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.CreateSnapshot(create)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "stopping" in (refused.value.details() or "")
        assert process.returncode is None

        upstream.gate.set()

        async def job_has_completed() -> bool:
            asked = pb.GetSnapshotJobRequest(namespace=NS, job_id=job.id)
            return bool((await stub.GetSnapshotJob(asked)).status == "completed")

        await until(job_has_completed)
        assert await process.wait() == 0
