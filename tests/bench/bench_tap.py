"""What a tapped query costs in Python: as Envoy's tap ships it, and with the whole of its vector.

Times are the best of several rounds, so that a busy machine
disturbs them least; the ratios hold on any machine.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from envoyapi.data.accesslog.v3 import accesslog_pb2
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
from tests.doubles.tap_filter import TapFilter
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
    rows = [{"id": f"asin-{n}", "$dist": n / 7, "title": f"headphones {n}"} for n in range(10)]
    answer = json.dumps({"rows": rows}, separators=(",", ":")).encode()
    tap_filter = TapFilter()
    shipped = tapped_query(
        request=tap_filter.request(body)[-1].body, response=tap_filter.response(answer)[-1].body
    )
    clock = SystemClock()
    tap = TapReader(clock, random_id)
    async with open_bench(folder, MemoryObjectStore(), MemoryCache(clock), clock) as bench:

        def record(entry: accesslog_pb2.HTTPAccessLogEntry) -> float:
            message = als_pb2.StreamAccessLogsMessage()
            message.http_logs.log_entry.append(entry)
            data = message.SerializeToString()

            def whole() -> None:
                for read in als_pb2.StreamAccessLogsMessage.FromString(data).http_logs.log_entry:
                    search = tap.read(read)
                    assert search is not None
                    bench.recorder.search(search, AckLevel.RECEIVED)

            return best_us(whole)

        short = record(shipped)
        long = record(tapped_query(request=body, response=answer))
        print(f"{dimensions} dimensions, {len(body)} bytes")
        print("  protobuf, tap, stamp, line, spool buffer, batch")
        print(f"    as shipped {short:7.1f} us; bodies as they were {long:7.1f} us")
        cut = CapturedBody(body, complete=True)
        quick, plain = (
            best_us(lambda: read_request(cut)),
            best_us(lambda: msgspec.json.decode(body)),
        )
        print(f"  summarise the whole request {quick:7.1f} us; decode it alone {plain:7.1f} us")


async def report_all() -> None:
    for dimensions in (8, 1536):
        with tempfile.TemporaryDirectory() as folder:
            await report(dimensions, Path(folder))


def main() -> None:
    """Print the costs at two sizes."""
    asyncio.run(report_all())
