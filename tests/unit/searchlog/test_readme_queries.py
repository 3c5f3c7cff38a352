"""The README's SQL answers over objects as the writer leaves them."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from services.core.ids import parse_namespace
from services.searchlog.model import AckLevel, Fetch, Search
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import open_bench

README = Path(__file__).parents[3] / "README.md"
BUCKET = "s3://my-bucket/history"
PRODUCTS = parse_namespace("products")


async def fill(store: MemoryObjectStore, folder: Path) -> None:
    """Three searches, of which one found nothing and one was clicked."""
    clock = ManualClock()
    async with open_bench(folder, store, MemoryCache(clock), clock) as bench:
        for number, (text, ids) in enumerate(
            [("alien", ["7", "8"]), ("alien", ["7", "8"]), ("aliem", [])], start=1
        ):
            search = Search(
                namespace=PRODUCTS,
                served_ns=clock.now_ns() + number,
                trace_id=f"{number:032x}",
                query={"rank_by": ["title", "BM25", text], "top_k": 2},
                raw_query=text,
                top_result_ids=ids,
                tags=("ab:b",),
                status=200,
                duration_ms=2.5,
                result_count=len(ids),
            )
            bench.recorder.search(search, AckLevel.RECEIVED)
        click = Fetch(PRODUCTS, clock.now_ns() + 9, f"{1:032x}", "8", "cache")
        bench.recorder.fetch(click, AckLevel.RECEIVED)
        for _ in range(200):
            await clock.advance(0.1)
    assert len(store.objects) == 2


async def test_what_is_not_found_and_what_is_clicked(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    await fill(store, tmp_path / "spool")
    for key, body in store.objects.items():
        file = tmp_path / "bucket" / key
        file.parent.mkdir(parents=True)
        file.write_bytes(body)

    (sql,) = re.findall(r"```sql\n(.*?)```", README.read_text(), re.DOTALL)
    statements = sql.replace(BUCKET, str(tmp_path / "bucket")).split(";\n")
    with duckdb.connect() as connection:
        answers = [connection.execute(each).fetchall() for each in statements if each.strip()]
    assert answers[2:] == [
        [("aliem", 1)],
        [("alien", 2, 1, 2.0), ("aliem", 1, 0, None)],
    ]
