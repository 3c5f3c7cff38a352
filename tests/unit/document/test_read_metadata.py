"""Metadata: the upstream's values as they are, and what is known of its stability."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.cache.no_cache import NoCache
from services.core.ids import Namespace
from services.document.read_metadata import ReadMetadata
from services.formats.snapshot_body import build_body
from services.upstream.vector_store import ApiVersion, NamespaceNotFoundError
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.table_store import TableVectorStore

NS = Namespace("products")
MARGIN_MS = 500


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.upstream = TableVectorStore(NS, [{"id": 1, "n": 1, "vector": [1.0]}])
        self.store = MemoryObjectStore()
        self.read = self.restarted()

    def restarted(self) -> ReadMetadata:
        reader = SnapshotReader(self.store, NoCache())
        return ReadMetadata(self.upstream, reader, self.clock, margin_ms=MARGIN_MS)

    @property
    def now_ms(self) -> int:
        return self.clock.now_ns() // 1_000_000

    async def layer(self) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(await self.read(NS))
        layer: dict[str, Any] = answer["layer"]
        return layer

    async def snapshot(self, watermark_ms: int, row_count: int = 1) -> None:
        body = build_body(NS, watermark_ms, row_count, {"n": {"1": row_count}}, {})
        await SnapshotWriter(self.store, NoCache()).write(body)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_stable_index_is_stable_as_of_the_polls_start(world: World) -> None:
    layer = await world.layer()
    assert (layer["is_stable"], layer["stable_as_of"]) == (True, world.now_ms - MARGIN_MS)


async def test_while_it_updates_the_last_watermark_stands(world: World) -> None:
    stable_as_of = (await world.layer())["stable_as_of"]
    world.upstream.updating = True
    world.clock.advance(60)
    layer = await world.layer()
    assert (layer["is_stable"], layer["stable_as_of"]) == (False, stable_as_of)
    await world.snapshot(stable_as_of - 1000)
    assert (await world.layer())["stable_as_of"] == stable_as_of, "an older body changes nothing"
    await world.snapshot(stable_as_of + 1000)
    assert (await world.layer())["stable_as_of"] == stable_as_of + 1000


async def test_nothing_is_known_of_an_index_that_was_never_seen_stable(world: World) -> None:
    world.upstream.updating = True
    assert (await world.layer())["stable_as_of"] is None
    await world.snapshot(world.now_ms)
    world.read = world.restarted()
    assert (await world.layer())["stable_as_of"] == world.now_ms


async def test_a_clock_that_is_set_back_takes_nothing_back(world: World) -> None:
    stable_as_of = (await world.layer())["stable_as_of"]
    world.clock.advance(-3600)
    assert (await world.layer())["stable_as_of"] == stable_as_of


async def test_lag_is_of_the_newest_body_and_never_negative(world: World) -> None:
    layer = await world.layer()
    assert (layer["indexed"], layer["index_lag_rows"]) == (None, None)
    await world.snapshot(world.now_ms, row_count=4)
    layer = await world.layer()
    assert (layer["indexed"], layer["index_lag_rows"]) == (False, 3)
    await world.snapshot(world.now_ms + 1, row_count=0)
    layer = await world.layer()
    assert (layer["indexed"], layer["index_lag_rows"]) == (True, 0)


async def test_without_a_vector_column_there_is_no_lag(world: World) -> None:
    del world.upstream.rows[0]["vector"]
    await world.snapshot(world.now_ms, row_count=4)
    layer = await world.layer()
    assert (layer["indexed"], layer["index_lag_rows"]) == (None, None)


async def test_numbers_pass_as_the_upstream_wrote_them(world: World) -> None:
    raw = b'{"schema":{},"approx_row_count":18446744073709551615,"x":1.10,"y":1e400,"z":-0}'

    async def metadata(namespace: Namespace, version: ApiVersion = "v2") -> bytes:
        return raw

    world.upstream.metadata = metadata  # type: ignore[method-assign]
    answer = await world.read(NS)
    for text in (b'"approx_row_count":18446744073709551615', b'"x":1.10', b'"y":1e400', b'"z":-0'):
        assert text in answer


async def test_an_unknown_namespace_is_not_found(world: World) -> None:
    with pytest.raises(NamespaceNotFoundError):
        await world.read(Namespace("another"))
