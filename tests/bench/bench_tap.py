"""What a tapped query costs in Python, and what the two short cuts save.

Times are the best of several rounds, so that a busy machine
disturbs them least; the ratios hold on any machine.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pybase64
from envoyapi.service.accesslog.v3 import als_pb2

from services.core.clock import SystemClock
from services.core.ids import random_id
from services.searchlog.captured_body import CapturedBody
from services.searchlog.model import AckLevel
from services.searchlog.request_body import read_request
from services.searchlog.tap import TapReader
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import open_bench
from tests.doubles.tapped_query import tapped_query

ROUNDS = 15
PER_ROUND = 200


def best_us(work: Callable[[], object]) -> float:
    """CPU microseconds of one call."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(PER_ROUND):
            work()
        rounds.append((time.process_time() - start) / PER_ROUND * 1e6)
    return min(rounds)


def request(dimensions: int) -> dict[str, object]:
    rng = random.Random(dimensions)
    return {
        "rank_by": ["vector", "ANN", [rng.gauss(0, 1) for _ in range(dimensions)]],
        "top_k": 10,
        "filters": ["And", [["brand", "Eq", "Acme"], ["price", "Lt", 100]]],
    }


async def report(dimensions: int, folder: Path) -> None:
    body = json.dumps(request(dimensions)).encode()
    text = base64.b64encode(body).decode()
    rows = [{"id": f"asin-{n}", "$dist": n / 7, "title": f"headphones {n}"} for n in range(10)]
    message = als_pb2.StreamAccessLogsMessage()
    message.http_logs.log_entry.append(tapped_query(request=body, response={"rows": rows}))
    data = message.SerializeToString()
    clock = SystemClock()
    tap = TapReader(clock, random_id)
    async with open_bench(folder, MemoryObjectStore(), MemoryCache(clock), clock) as bench:

        def whole() -> None:
            for entry in als_pb2.StreamAccessLogsMessage.FromString(data).http_logs.log_entry:
                search = tap.read(entry)
                assert search is not None
                bench.recorder.search(search, AckLevel.RECEIVED)

        decode, cut = msgspec.json.decode, CapturedBody(body, complete=True)
        plain, quick = best_us(lambda: decode(body)), best_us(lambda: read_request(cut))
        slow64 = best_us(lambda: binascii.a2b_base64(text))
        fast64 = best_us(lambda: pybase64.b64decode(text, validate=True))
        print(f"{dimensions} dimensions, {len(body)} bytes")
        print(f"  decode the request whole {plain:7.1f} us; summarise it {quick:7.1f} us")
        print(f"  base64: binascii {slow64:7.1f} us; pybase64 {fast64:7.1f} us")
        print(f"  protobuf, tap, stamp, line, spool buffer, batch {best_us(whole):7.1f} us")


async def report_all() -> None:
    for dimensions in (8, 1536):
        with tempfile.TemporaryDirectory() as folder:
            await report(dimensions, Path(folder))


def main() -> None:
    """Print the costs at two sizes."""
    asyncio.run(report_all())
