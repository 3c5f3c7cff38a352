"""Snapshots written and read, and what each read costs in requests."""

import pytest

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter, ref_of
from services.cache.cache import Cache
from services.cache.lmdb_cache import LmdbCache
from services.cache.no_cache import NoCache
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_body import SnapshotBody, build_body
from services.storage.counting import CountingObjectStore, RequestCounts
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_object_store import MemoryObjectStore

NS = Namespace("products")


def body(watermark_ms: int, *fields: str, count: int = 1) -> SnapshotBody:
    return build_body(NS, watermark_ms, count, {name: {"x": count} for name in fields}, {})


class Archive:
    """A reader and a writer over one counted store."""

    def __init__(self, cache: Cache | None = None) -> None:
        self.store = CountingObjectStore(MemoryObjectStore())
        cache = cache or NoCache()
        self.writer = SnapshotWriter(self.store, cache)
        self.reader = SnapshotReader(self.store, cache)

    def reset(self) -> None:
        self.store.counts = RequestCounts()


async def test_a_page_is_newest_first_and_one_list() -> None:
    archive = Archive()
    for watermark in (10, 30, 20):
        await archive.writer.write(body(watermark, "f", count=watermark))
    archive.reset()
    page = await archive.reader.page(NS, limit=2)
    assert [ref.watermark_ms for ref in page] == [30, 20]
    rest = await archive.reader.page(NS, limit=2, before=page[-1])
    assert [ref.watermark_ms for ref in rest] == [10]
    assert archive.store.counts == RequestCounts(list=2)


async def test_a_body_by_prefix_is_one_list_and_one_get() -> None:
    archive = Archive()
    stored = body(10, "f")
    await archive.writer.write(stored)
    archive.reset()
    ref = await archive.reader.resolve(NS, stored.sha[:7])
    assert await archive.reader.body(ref) == stored
    assert archive.store.counts == RequestCounts(list=1, get=1)


async def test_the_newest_body_is_mirrored(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cache")
    async with LmdbCache(folder, map_size_bytes=64 << 20, clock=FakeClock()) as cache:
        archive = Archive(cache)
        stored = body(10, "f")
        await archive.writer.write(stored)
        archive.reset()
        assert await archive.reader.newest_body(NS) == stored
        assert archive.store.counts == RequestCounts(list=1)
        # Another replica without this cache writes a newer one: the copy is stale, never wrong.
        newer = body(20, "g")
        await SnapshotWriter(archive.store, NoCache()).write(newer)
        assert await archive.reader.newest_body(NS) == newer


async def test_a_one_field_body_does_not_hide_the_other_fields() -> None:
    archive = Archive()
    full = body(10, "a", "b")
    await archive.writer.write(full)
    for watermark in range(20, 40):
        await archive.writer.write(body(watermark, "a", count=watermark))
    assert await archive.reader.newest_body_with(NS, frozenset({"b"})) == full
    newest = await archive.reader.newest_body_with(NS, frozenset({"a"}))
    assert newest is not None
    assert newest.watermark_ms == 39
    assert await archive.reader.newest_body_with(NS, frozenset({"c"})) is None


async def test_ambiguous_unknown_and_malformed_prefixes() -> None:
    archive = Archive()
    same = "0" * 7
    for watermark, ending in ((1, "a"), (2, "b")):
        ref = keys.SnapshotRef(NS, watermark, same + ending * 57)
        await archive.store.put(keys.sha_key(ref), b"")
    with pytest.raises(LayerError, match="ambiguous") as ambiguous:
        await archive.reader.resolve(NS, same)
    assert ambiguous.value.kind is ErrorKind.VALIDATION
    assert (await archive.reader.resolve(NS, same + "a")).watermark_ms == 1
    for bad in ("abcdef", "ABCDEF0", "xyzxyzx", "0" * 65, ""):
        with pytest.raises(LayerError) as malformed:
            await archive.reader.resolve(NS, bad)
        assert malformed.value.kind is ErrorKind.VALIDATION
    with pytest.raises(LayerError) as unknown:
        await archive.reader.resolve(NS, "1234567")
    assert unknown.value.kind is ErrorKind.NOT_FOUND


async def test_a_crash_before_the_index_is_repaired_on_read() -> None:
    archive = Archive()
    stored = body(10, "f")
    await archive.writer.write(stored)
    ref = ref_of(stored)
    await archive.store.delete([keys.sha_key(ref), keys.activity_key(ref)])
    assert await archive.reader.resolve(NS, stored.sha) == ref
    archive.reset()
    assert await archive.reader.resolve(NS, stored.sha) == ref
    assert archive.store.counts == RequestCounts(list=1)
    assert list(await archive.reader.activity(since_ms=0, limit=5)) == [ref]


async def test_a_filtered_body_is_read_by_sha_and_is_not_in_the_history() -> None:
    archive = Archive()
    stored = body(10, "f")
    await archive.writer.write_filtered(stored)
    assert await archive.reader.page(NS, limit=10) == []
    assert await archive.reader.newest_body_with(NS, frozenset({"f"})) is None
    ref = await archive.reader.resolve(NS, stored.sha)
    assert await archive.reader.body(ref) == stored


async def test_equal_content_at_two_times_is_two_entries_of_one_sha() -> None:
    archive = Archive()
    await archive.writer.write(body(10, "f"))
    await archive.writer.write(body(20, "f"))
    page = await archive.reader.page(NS, limit=10)
    assert len(page) == 2
    assert len({ref.sha for ref in page}) == 1
    assert (await archive.reader.resolve(NS, page[0].sha)).watermark_ms == 20


async def test_racing_writers_of_one_body_write_it_once() -> None:
    archive = Archive()
    stored = body(10, "f")
    await archive.writer.write(stored)
    await archive.writer.write(stored)
    assert len(await archive.reader.page(NS, limit=10)) == 1
