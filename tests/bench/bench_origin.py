"""Counting a namespace at the origin: by aggregation beside by scan, on the development upstream.

Requests are exact; times are of one run. Peak memory is that of this process above its start.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from services.cli.processes import ProcessGroup
from services.cli.stack import http_ready
from services.core.ids import Namespace
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_origin import OriginCount, OriginStrategy
from services.snapshot.count_request import CountRequest
from services.snapshot.scan_origin import OriginScan
from services.upstream.turbopuffer_store import TurbopufferSettings, TurbopufferVectorStore
from services.upstream.vector_store import VectorStore, decode_metadata
from tests.e2e.stacks import eventually, free_ports

SIZES = (10_000, 100_000, 1_000_000)
FIELDS = ("category", "brand", "price")
_BATCH = 10_000


def main() -> None:
    """Print a table. Loading a million rows takes most of the time."""
    asyncio.run(_main())


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with _devstore(Path(folder)) as url:
            settings = TurbopufferSettings.model_validate({"base_url": url, "api_key": "bench"})
            async with TurbopufferVectorStore.open(settings) as upstream:
                print("  rows       way        requests   seconds   peak MiB")
                for rows in SIZES:
                    await _compare(url, upstream, rows)


async def _compare(url: str, upstream: VectorStore, rows: int) -> None:
    namespace = Namespace(f"bench-{rows}")
    await _load(url, namespace, rows)
    seconds: dict[str, float] = {}
    for strategy in (OriginStrategy.AGGREGATE, OriginStrategy.SCAN):
        origin = OriginCount(OriginAggregation(upstream), OriginScan(upstream), strategy)
        metadata = decode_metadata(await upstream.metadata(namespace))
        async with httpx.AsyncClient(base_url=url) as client:
            await client.delete("/dev/v1/requests")
            tracemalloc.start()
            started = time.perf_counter()
            counts = await origin.count(CountRequest(namespace, FIELDS, metadata))
            seconds[strategy] = time.perf_counter() - started
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            requests = sum((await client.get("/dev/v1/requests")).json().values())
        assert counts.row_count == rows
        print(f"  {rows:<10,} {strategy:<10} {requests:>8} {seconds[strategy]:>9.2f} {peak:>10.1f}")
    ratio = seconds[OriginStrategy.SCAN] / seconds[OriginStrategy.AGGREGATE]
    print(f"  {rows:<10,} scan / aggregate, time: {ratio:.1f}x")


async def _load(url: str, namespace: str, rows: int) -> None:
    source = random.Random(rows)
    headers = {"authorization": "Bearer bench"}
    async with httpx.AsyncClient(base_url=url, timeout=60, headers=headers) as client:
        for start in range(0, rows, _BATCH):
            batch = {
                "id": list(range(start, start + _BATCH)),
                "category": [f"category {source.randrange(40)}" for _ in range(_BATCH)],
                "brand": [f"brand {source.randrange(5_000)}" for _ in range(_BATCH)],
                "price": [source.randrange(2_000) for _ in range(_BATCH)],
            }
            answer = await client.post(
                f"/v2/namespaces/{namespace}", json={"upsert_columns": batch}
            )
            answer.raise_for_status()


@asynccontextmanager
async def _devstore(folder: Path) -> AsyncIterator[str]:
    (port,) = free_ports(1)
    variables = {
        "LAYER_DEVSTORE_PORT": str(port),
        "LAYER_DEVSTORE_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": ":".join(path for path in sys.path if path),
    }
    group = ProcessGroup(variables, folder / "logs")
    await group.start("devstore", "services.devstore")
    try:
        url = f"http://127.0.0.1:{port}"
        await eventually(lambda: http_ready(f"{url}/dev/v1/health"), bool)
        yield url
    finally:
        await group.stop(10)


if __name__ == "__main__":
    main()
