"""What reading costs with 100,000 snapshots in the store, counted in requests."""

from __future__ import annotations

import pytest

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter, ref_of
from services.cache.lmdb_cache import LmdbCache
from services.cache.no_cache import NoCache
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_body import build_body, encode_body
from services.formats.snapshot_keys import SnapshotRef
from services.history.list_activity import ListActivity
from services.snapshot.retention import Retention
from services.storage.counting import CountingObjectStore, RequestCounts
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_object_store import MemoryObjectStore

NS = Namespace("products")
SNAPSHOTS = 100_000
MINUTE_MS = 60_000
CLOCK = FakeClock()
NEWEST_MS = CLOCK.now_ns() // 1_000_000
BODY = build_body(NS, NEWEST_MS, 1, {"color": {"red": 1}}, {})


@pytest.fixture(scope="module")
def full() -> MemoryObjectStore:
    """A snapshot a minute; other namespaces' in between in the feed."""
    refs = [SnapshotRef(NS, NEWEST_MS - n * MINUTE_MS, f"{n:064x}") for n in range(1, SNAPSHOTS)]
    refs.append(ref_of(BODY))
    objects: dict[str, bytes] = {}
    for ref in refs:
        objects[keys.body_key(ref)] = encode_body(BODY)
        objects[keys.sha_key(ref)] = b""
        objects[keys.activity_key(ref)] = b""
    return MemoryObjectStore(objects)


@pytest.fixture
def store(full: MemoryObjectStore) -> CountingObjectStore:
    return CountingObjectStore(full)


async def test_a_page_of_history_is_one_list_anywhere(store: CountingObjectStore) -> None:
    reader = SnapshotReader(store, NoCache())
    page = await reader.page(NS, limit=50)
    for depth in (1_000, 50_000, 99_000):
        before = SnapshotRef(NS, NEWEST_MS - depth * MINUTE_MS, f"{depth:064x}")
        page = await reader.page(NS, limit=50, before=before)
        assert page[0].watermark_ms == NEWEST_MS - (depth + 1) * MINUTE_MS
    assert store.counts == RequestCounts(list=4)


async def test_a_body_is_one_list_and_one_get(store: CountingObjectStore) -> None:
    reader = SnapshotReader(store, NoCache())
    for digits in (BODY.sha, BODY.sha[:7]):
        store.counts = RequestCounts()
        assert await reader.body(await reader.resolve(NS, digits)) == BODY
        assert store.counts == RequestCounts(list=1, get=1)


async def test_a_mirrored_body_is_no_get(
    store: CountingObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    async with LmdbCache(folder, map_size_bytes=64 << 20, clock=CLOCK) as cache:
        await SnapshotWriter(store, cache).write(BODY)
        store.counts = RequestCounts()
        reader = SnapshotReader(store, cache)
        assert await reader.body(await reader.resolve(NS, BODY.sha)) == BODY
        assert store.counts == RequestCounts(list=1)


async def test_a_page_of_activity_is_one_list_anywhere(store: CountingObjectStore) -> None:
    list_activity = ListActivity(SnapshotReader(store, NoCache()))
    cursor = None
    for namespace in (None, NS):
        cursor = None
        for _page in range(3):
            store.counts = RequestCounts()
            page = await list_activity(since_ms=0, limit=500, namespace=namespace, cursor=cursor)
            assert len(page.events) == 500
            assert store.counts == RequestCounts(list=1)
            cursor = page.next_cursor


@pytest.mark.parametrize("expired", [0, 1, 999, 2_500])
async def test_retention_lists_once_and_once_for_each_thousand(
    full: MemoryObjectStore, expired: int
) -> None:
    store = CountingObjectStore(MemoryObjectStore(dict(full.objects)))
    retention_ms = (SNAPSHOTS - 1 - expired) * MINUTE_MS + MINUTE_MS // 2
    pruned = await Retention(store, CLOCK).prune(NS, retention_ms)
    assert pruned == expired
    thousands = -(-expired // 1000)
    assert store.counts.list <= 1 + thousands
    assert store.counts.delete <= 3 * thousands
    assert store.counts.get == store.counts.put == 0
    assert len(await store.list(keys.history_prefix(NS))) == 1000
