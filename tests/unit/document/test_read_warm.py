"""Reading a warm namespace: all of it or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import pytest

from services.core.errors import ErrorKind, LayerError
from services.core.job_book import JobStatus
from services.document import read_warm
from services.document.cached_documents import document_key
from services.document.warm_state import id_list_key, warm_key
from tests.doubles.failing_cache import FailingCache
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import NS, LivingClock, Replica, running_replica


@dataclass
class Warm:
    """A replica that has warmed 250 documents."""

    replica: Replica
    memory: MemoryCache
    link: FailingCache
    generation: str
    job_id: str


@pytest.fixture
async def warm() -> AsyncIterator[Warm]:
    clock = LivingClock()
    upstream = TableVectorStore(NS, [{"id": n, "n": n} for n in range(250)])
    memory = MemoryCache(clock)
    link = FailingCache(memory)
    async with running_replica(upstream, link, clock) as replica:
        job = await replica.warm(page_size=100)
        assert job.status is JobStatus.COMPLETED
        generation = (await replica.generations.peek(NS)).generation
        assert generation is not None
        yield Warm(replica, memory, link, generation, job.id)


async def test_the_documents_come_in_the_order_of_ids(warm: Warm) -> None:
    pages = [msgspec.json.decode(page)["rows"] for page in await warm.replica.warm_pages()]
    assert [row for rows in pages for row in rows] == [{"id": n, "n": n} for n in range(250)]


@pytest.mark.parametrize("lost", ["state", "ids", "document", "cache"])
async def test_what_is_gone_is_noticed(warm: Warm, lost: str) -> None:
    gone = {
        "state": warm_key(NS, warm.generation),
        "ids": id_list_key(NS, warm.generation, warm.job_id, 1),
        "document": document_key(NS, warm.generation, "249"),
    }
    await warm.memory.delete([gone[lost]] if lost in gone else [])
    warm.link.down = lost == "cache"
    with pytest.raises(LayerError) as cold:
        await warm.replica.warm_pages()
    assert cold.value.kind is ErrorKind.CACHE_COLD


async def test_a_write_ends_warmth(warm: Warm) -> None:
    await warm.replica.generations.end_write(NS)
    with pytest.raises(LayerError) as cold:
        await warm.replica.warm_pages()
    assert cold.value.kind is ErrorKind.CACHE_COLD


async def test_a_state_of_another_version_is_none(warm: Warm) -> None:
    warm.memory.values[warm_key(NS, warm.generation)] = (b'{"generation":"x"}', None)
    with pytest.raises(LayerError) as cold:
        await warm.replica.warm_pages()
    assert cold.value.kind is ErrorKind.CACHE_COLD


async def test_fewer_large_documents_are_read_at_a_time(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_warm, "_READ_BYTES", 300)
    reads: list[int] = []
    get_many = warm.link.get_many

    async def watched(keys: Sequence[str]) -> Mapping[str, bytes]:
        reads.append(len([key for key in keys if key.startswith("document/")]))
        return await get_many(keys)

    monkeypatch.setattr(warm.link, "get_many", watched)
    await warm.replica.warm_pages()
    documents = [size for size in reads if size]
    assert (documents[0], sum(documents)) == (20, 250)
    # The later rows have 18 bytes.
    assert max(documents[-5:]) == 300 // 18
