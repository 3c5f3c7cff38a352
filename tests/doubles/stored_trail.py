"""Objects of a trail, as any writer may have left them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.formats.trail import SearchEntry, encode_line, format_timestamp
from services.formats.trail_keys import ObjectName, day_of, object_key
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import searches

__all__ = ["one_line_objects", "put_object", "search_line"]


def search_line(nanos: int, *, tags: Sequence[str] = (), trace_id: str | None = None) -> bytes:
    """A search whose `raw_query` is its time."""
    return encode_line(
        SearchEntry(
            timestamp=format_timestamp(nanos),
            timestamp_nanos=nanos,
            namespace="n",
            trace_id=trace_id,
            raw_query=str(nanos),
            query={},
            tags=tuple(tags),
        )
    )


async def put_object(store: MemoryObjectStore, *stamps: int, name: int | None = None) -> str:
    """An object of the searches of `n` with those times, oldest first; its key."""
    nanos = max(stamps) if name is None else name
    key = object_key(*searches("n"), ObjectName(day_of(stamps[-1]), nanos))
    await store.put(key, b"\n".join(search_line(stamp) for stamp in stamps) + b"\n")
    return key


async def one_line_objects(stamps: Iterable[int]) -> MemoryObjectStore:
    """A store with an object an entry."""
    store = MemoryObjectStore()
    for stamp in stamps:
        await put_object(store, stamp)
    return store
