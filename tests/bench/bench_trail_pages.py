"""Page 1 and page 200 of a trail of 1,000 and of 1,000,000 entries, beside the naive way.

The naive way lists the whole prefix, reverses it, and gets one object after the other. Each
request of the store takes 5 ms, as one of a near S3 does at best.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from services.cache.no_cache import NoCache
from services.formats.trail import SearchEntry
from services.formats.trail_keys import ObjectName, day_of, namespace_folder, object_key
from services.searchlog.model import Stream, TrailCounts
from services.searchlog.object_bodies import ObjectBodies
from services.searchlog.page_query import PageQuery
from services.searchlog.read_trail import ReadLimits, ReadTrail
from services.storage.counting import CountingObjectStore
from services.storage.object_store import ObjectStore
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import searches
from tests.doubles.stored_trail import search_line

_REQUEST_SECONDS = 0.005
_START = 1_780_000_000_000_000_000
_LIMIT = 50
_LAST_PAGE = 200


class DistantObjectStore:
    """Reads take their time."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(_REQUEST_SECONDS)
        return await self._inner.get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        return await self._inner.put(key, body, if_absent=if_absent)

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        await asyncio.sleep(_REQUEST_SECONDS)
        return await self._inner.list(prefix, start_after=start_after, limit=limit)

    async def list_children(self, prefix: str) -> Sequence[str]:
        await asyncio.sleep(_REQUEST_SECONDS)
        return await self._inner.list_children(prefix)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._inner.delete(keys)


@dataclass(frozen=True)
class Cost:
    """Of one page."""

    lists: int
    gets: int
    seconds: float

    def line(self, name: str) -> str:
        requests = self.lists + self.gets
        return (
            f"    {name:<18} {requests:>6,} requests ({self.lists:>5,} LIST, {self.gets:>3} GET)"
            f"  {self.seconds * 1000:>9,.1f} ms"
        )


def trail(entries: int, per_object: int, step_ns: int) -> MemoryObjectStore:
    """Entries at even times, so many an object."""
    stream = searches("n")
    objects: dict[str, bytes] = {}
    for first in range(0, entries, per_object):
        stamps = [_START + n * step_ns for n in range(first, first + per_object)]
        name = ObjectName(day_of(stamps[-1]), stamps[-1])
        lines = [search_line(at) for at in stamps if day_of(at) == name.day]
        objects[object_key(*stream, name)] = b"\n".join(lines) + b"\n"
    return MemoryObjectStore(objects)


async def pages(
    store: MemoryObjectStore, stream: Stream, last: int, now_ns: int
) -> dict[int, Cost]:
    """The cost of page 1 and of the last one, by following cursors from now on."""
    counting = CountingObjectStore(DistantObjectStore(store))

    async def unstored(_: Stream) -> Sequence[Sequence[bytes]]:
        return ()

    read = ReadTrail(
        counting,
        ObjectBodies(counting, NoCache()),
        unstored,
        FakeClock(now_ns),
        ReadLimits(),
        TrailCounts(),
    )
    costs: dict[int, Cost] = {}
    query = PageQuery(_LIMIT)
    for number in range(1, last + 1):
        before, started = _requests(counting), time.perf_counter()
        page = await read(stream, SearchEntry, query)
        if number in (1, last):
            lists, gets = (a - b for a, b in zip(_requests(counting), before, strict=True))
            costs[number] = Cost(lists, gets, time.perf_counter() - started)
        assert len(page.entries) == _LIMIT
        if page.next_cursor is not None:
            query = PageQuery(_LIMIT, newest=page.next_cursor - 1)
    return costs


async def naive_page(store: MemoryObjectStore, stream: Stream, number: int) -> Cost:
    """One entry an object: list all, reverse, skip to the page, get each."""
    counting = CountingObjectStore(DistantObjectStore(store))
    started = time.perf_counter()
    keys: list[str] = []
    while True:
        after = keys[-1] if keys else ""
        listed = await counting.list(
            namespace_folder(stream.kind, stream.namespace), start_after=after
        )
        keys += listed
        if len(listed) < 1000:
            break
    for key in keys[::-1][(number - 1) * _LIMIT : number * _LIMIT]:
        assert await counting.get(key)
    return Cost(*_requests(counting), time.perf_counter() - started)


def _requests(counting: CountingObjectStore) -> tuple[int, int]:
    return counting.counts.list + counting.counts.list_children, counting.counts.get


async def _main() -> None:
    stream = searches("n")
    cases = (
        ("1,000 entries, one an object", 1_000, 1, 10**9),
        ("1,000,000 entries, one an object", 1_000_000, 1, 10**9),
        ("1,000,000 entries, 1,000 an object", 1_000_000, 1_000, 10**6),
    )
    for name, entries, per_object, step_ns in cases:
        print(f"  {name}")
        store = trail(entries, per_object, step_ns)
        now_ns = _START + entries * step_ns
        last = min(_LAST_PAGE, entries // _LIMIT)
        for number, cost in (await pages(store, stream, last, now_ns)).items():
            print(cost.line(f"page {number}"))
            if per_object == 1:
                naive = await naive_page(store, stream, number)
                print(naive.line("  the naive way"))
                saved = (naive.lists + naive.gets) / (cost.lists + cost.gets)
                print(
                    f"    {'':<18} {saved:>6.1f}x the requests, "
                    f"{naive.seconds / cost.seconds:.1f}x the time"
                )


def main() -> None:
    """Print requests and time of each page, and the ratio of the naive way's to ours."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
