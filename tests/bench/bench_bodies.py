"""Reading a body of 8 fields with 10,000 values each: through Envoy as JSON, and by gRPC."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import httpx
from layer.history.v2 import history_pb2, history_pb2_grpc

from services.archive.write_snapshot import SnapshotWriter
from services.cache.no_cache import NoCache
from services.edge.server import MAX_MESSAGE_BYTES
from services.formats.snapshot_body import FIELD_CAP, build_body, encode_body
from services.storage.files import FileObjectStore
from tests.e2e.stacks import running_stack

_READS = 60
_FIELDS = 8


def main() -> None:
    """Print p50 and p99 of each way, and their ratio."""
    asyncio.run(_main())


async def _main() -> None:
    counts = {f"field {f}": {f"value {v}": v + 1 for v in range(FIELD_CAP)} for f in range(_FIELDS)}
    body = build_body("bench", 1_790_000_000_000, 1_000_000, counts, {})
    print(f"  body: {len(encode_body(body)) / 2**20:.1f} MiB of JSON")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        async with FileObjectStore(root / "data" / "objects") as store:
            await SnapshotWriter(store, NoCache()).write(body)
        async with (
            running_stack(root) as stack,
            httpx.AsyncClient(base_url=stack.gateway_url, timeout=30) as client,
            grpc.aio.insecure_channel(
                f"127.0.0.1:{stack.port('history')}",
                options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
            ) as channel,
        ):
            stub = history_pb2_grpc.HistoryServiceStub(channel)
            request = history_pb2.GetSnapshotRequest(namespace="bench", sha=body.sha)

            async def by_json() -> None:
                answer = await client.get(f"/v2/namespaces/bench/snapshots/{body.sha}")
                assert answer.status_code == 200, answer.text[:200]

            async def by_grpc() -> None:
                assert (await stub.GetSnapshot(request)).sha == body.sha

            json_p50, json_p99 = await _percentiles(by_json)
            grpc_p50, grpc_p99 = await _percentiles(by_grpc)
    print(f"  JSON through Envoy   p50 {json_p50:7.1f} ms   p99 {json_p99:7.1f} ms")
    print(f"  gRPC, direct         p50 {grpc_p50:7.1f} ms   p99 {grpc_p99:7.1f} ms")
    print(f"  JSON / gRPC          p50 {json_p50 / grpc_p50:7.1f}x")


async def _percentiles(read: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """p50 and p99 in milliseconds, one read after the other."""
    await read()
    times = []
    for _ in range(_READS):
        started = time.perf_counter()
        await read()
        times.append((time.perf_counter() - started) * 1000)
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


if __name__ == "__main__":
    main()
