"""A million documents in an LMDB cache: warming them, and reading them through Envoy and by gRPC.

The whole stack shares this machine with the load, so the ratios count, not the times.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import httpx
from layer.document.v2 import document_pb2, document_pb2_grpc

from services.cli.stack import Stack
from tests.e2e.stacks import eventually, running_stack

_DOCUMENTS = 1_000_000
_LOADED = 10_000
"""Rows of one upsert."""
_READS = 2_000
_BATCH = 100
_NAMESPACE = "bench"
_SETTINGS = {
    "LAYER_CACHE_MEBIBYTES": "4096",
    "LAYER_DOCUMENT_TTL_SECONDS": "3600",
    "LAYER_WARM_DOCUMENTS_PER_SECOND": "1000000",
}


async def load(url: str) -> None:
    """Documents of some 300 bytes."""
    source = random.Random(_DOCUMENTS)
    headers = {"authorization": "Bearer bench"}
    async with httpx.AsyncClient(base_url=url, timeout=60, headers=headers) as client:
        for start in range(0, _DOCUMENTS, _LOADED):
            ids = range(start, start + _LOADED)
            batch = {
                "id": list(ids),
                "title": [f"headphones number {n} with a title of some length" for n in ids],
                "description": [f"{source.getrandbits(400):x}" for _ in ids],
                "category": [f"category {source.randrange(40)}" for _ in ids],
                "price": [source.randrange(2_000) for _ in ids],
            }
            answer = await client.post(
                f"/v2/namespaces/{_NAMESPACE}", json={"upsert_columns": batch}
            )
            answer.raise_for_status()


async def warm(stack: Stack, client: httpx.AsyncClient) -> float:
    """Documents a second."""
    path = f"/v2/namespaces/{_NAMESPACE}"
    started = time.perf_counter()
    answer = await client.post(f"{path}/warm?page_size=10000")
    job_id = answer.raise_for_status().json()["id"]

    async def job() -> dict[str, object]:
        found: dict[str, object] = (await client.get(f"{path}/warm-jobs/{job_id}")).json()
        return found

    found = await eventually(job, lambda job: job["status"] != "running", seconds=900)
    assert found["status"] == "completed", found
    assert found["documents_scanned"] == _DOCUMENTS
    return _DOCUMENTS / (time.perf_counter() - started)


def resident_mebibytes(stack: Stack, name: str) -> tuple[int, int]:
    """Of a child: its own memory, and pages of the cache's file that it maps (proc_pid_status)."""
    lines = Path(f"/proc/{stack.children[name].process.pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return int(kib["RssAnon"]) // 1024, int(kib["RssFile"]) // 1024


async def percentiles(read: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """p50 and p99 in milliseconds, one read after the other."""
    times = []
    for number in range(_READS + _READS // 10):
        started = time.perf_counter()
        await read()
        if number >= _READS // 10:  # The first are for warming up.
            times.append((time.perf_counter() - started) * 1000)
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


async def compare(stack: Stack, client: httpx.AsyncClient, ids_a_read: int) -> None:
    """Hits of one document or of a batch, by JSON through Envoy and by gRPC."""
    source = random.Random(ids_a_read)

    def ids() -> list[str]:
        return [str(source.randrange(_DOCUMENTS)) for _ in range(ids_a_read)]

    async def by_json() -> None:
        path = f"/v2/namespaces/{_NAMESPACE}/documents"
        if ids_a_read == 1:
            answer = await client.get(f"{path}/{ids()[0]}")
        else:
            answer = await client.post(path, json={"ids": ids()})
        assert answer.headers["x-layer-cache"] == "hit", answer.text[:200]

    async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.port('document')}") as channel:
        stub = document_pb2_grpc.DocumentServiceStub(channel)

        async def by_grpc() -> None:
            # (One id by the same call: it costs what GetDocument does.)
            request = document_pb2.BatchGetDocumentsRequest(namespace=_NAMESPACE, ids=ids())
            call = stub.BatchGetDocuments(request)
            await call
            assert ("x-layer-cache", "hit") in tuple(await call.initial_metadata())

        grpc_p50, grpc_p99 = await percentiles(by_grpc)
        json_p50, json_p99 = await percentiles(by_json)
    print(f"  {ids_a_read} ids a read")
    print(f"    gRPC, direct         p50 {grpc_p50:7.2f} ms   p99 {grpc_p99:7.2f} ms")
    print(
        f"    JSON through Envoy   p50 {json_p50:7.2f} ms   p99 {json_p99:7.2f} ms   "
        f"{json_p50 / grpc_p50:.1f}x"
    )


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with (
            running_stack(Path(folder), _SETTINGS) as stack,
            httpx.AsyncClient(base_url=stack.gateway_url, timeout=30) as client,
        ):
            before = resident_mebibytes(stack, "document")
            started = time.perf_counter()
            await load(stack.devstore_url)
            print(f"  {_DOCUMENTS:,} documents, loaded in {time.perf_counter() - started:.0f} s")
            rate = await warm(stack, client)
            own, mapped = resident_mebibytes(stack, "document")
            print(f"  warmed at {rate:,.0f} documents/s")
            print(
                f"  DocumentService's memory: {own} MiB of its own ({before[0]} before), "
                f"{mapped} MiB of the cache's file mapped"
            )
            for ids_a_read in (1, _BATCH):
                await compare(stack, client, ids_a_read)


def main() -> None:
    """Print the rate, the memory, and the times of hits."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
