"""Entries that one SearchLogService takes by `RecordSearches`, and what they cost its core."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path

import grpc
from google.protobuf import struct_pb2
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc

from services.cli.stack import Stack
from tests.e2e.stacks import stack_settings

_ENTRIES = 60_000
_BATCHES = (1, 50, 500)
_STREAMS = 4


def request(batch: int) -> pb.RecordSearchesRequest:
    """Searches as a caller has them: a query of some fields, ten results, two tags."""
    query = struct_pb2.Struct()
    query.update({"top_k": 10, "filters": ["brand", "Eq", "Acme"], "vector": "f32[1536]"})
    record = pb.SearchRecord(
        namespace="products",
        raw_query="wireless headphones",
        trace_id="f81d4fae7dec11d0a76500a0c91e6bf6",
        query=query,
        top_result_ids=[f"asin-{n}" for n in range(10)],
        tags=["ab:b", "session:abc"],
    )
    return pb.RecordSearchesRequest(searches=[record] * batch, ack_level=pb.ACK_LEVEL_FSYNCED)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def send(
    stub: searchlog_pb2_grpc.SearchLogServiceAsyncStub, batch: int, entries: int
) -> None:
    """A stream of requests, each acknowledged once it is on the disk."""
    message = request(batch)
    accepted = 0
    async for answer in stub.RecordSearches(iter([message] * (entries // batch))):
        accepted += answer.accepted
    assert accepted == entries // batch * batch


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        stack = Stack(stack_settings(root, root))
        try:
            await stack.start_one("searchlog")
            pid = stack.children["searchlog"].process.pid
            async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.port('searchlog')}") as channel:
                stub = searchlog_pb2_grpc.SearchLogServiceStub(channel)
                await send(stub, 500, 5_000)
                first = None
                for batch in _BATCHES:
                    entries = _ENTRIES if batch > 1 else _ENTRIES // 10
                    cpu, started = cpu_seconds(pid), time.perf_counter()
                    async with asyncio.TaskGroup() as group:
                        for _ in range(_STREAMS):
                            group.create_task(send(stub, batch, entries // _STREAMS))
                    seconds, cpu = time.perf_counter() - started, cpu_seconds(pid) - cpu
                    first = first or entries / cpu
                    print(
                        f"  {batch:>4} a request, fsynced {entries / seconds:>10,.0f} entries/s"
                        f"  {cpu / entries * 1e6:>7.1f} us CPU each = {entries / cpu:>9,.0f}/s on "
                        f"one core  {entries / cpu / first:>5.1f}x"
                    )
        finally:
            await stack.stop()


def main() -> None:
    """Print rates by batch size, and the ratio to one entry a request."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
