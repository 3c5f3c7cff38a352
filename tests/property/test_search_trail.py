"""Random writers, crashes, outages and readers: nothing acknowledged is ever missing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.core.errors import LayerError
from services.formats.trail import SearchEntry, decode_line, split_lines
from services.formats.trail_keys import MAX_SPAN_NANOS, day_of, parse_object_key
from services.searchlog.batch import FlushRules
from services.searchlog.model import AckLevel
from services.searchlog.page_query import PageQuery
from services.searchlog.spool import SpoolLimits
from services.searchlog.writer import Receipt, WriterLimits
from tests.doubles.flaky_object_store import FlakyObjectStore
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import Bench, open_bench, searches

STEPS = 120
NAMESPACES = ("alpha", "beta")
ALMOST_MIDNIGHT = 1_790_035_200_000_000_000 - 45 * 10**9


@dataclass
class World:
    """Three replicas over one store, and what they have promised."""

    seed: int
    folder: Path
    rng: random.Random
    clock: ManualClock
    memory: MemoryObjectStore
    store: FlakyObjectStore
    cache: MemoryCache
    replicas: dict[int, AsyncExitStack] = field(default_factory=dict)
    benches: dict[int, Bench] = field(default_factory=dict)
    promised: dict[str, set[str]] = field(default_factory=dict)
    written: int = 0

    async def start(self, digits: int) -> None:
        stack = AsyncExitStack()
        self.benches[digits] = await stack.enter_async_context(
            open_bench(
                self.folder / str(digits),
                self.store,
                self.cache,
                self.clock,
                digits=digits,
                rules=FlushRules(max_entries=40, brisk_entries=10),
                writer_limits=WriterLimits(max_memory_bytes=20_000, puts=2),
                spool_limits=SpoolLimits(segment_bytes=8_000),
                seed=self.seed,
            )
        )
        self.replicas[digits] = stack

    async def crash(self, digits: int) -> None:
        await self.replicas[digits].aclose()
        await self.start(digits)

    async def record(self) -> None:
        digits, namespace = self.rng.choice(list(self.benches)), self.rng.choice(NAMESPACES)
        bench = self.benches[digits]
        served = self.clock.now_ns() - self.rng.choice((0, 0, 10**6, 10**8, 10**9, 200 * 10**9))
        receipts: list[Receipt] = []
        names: list[str] = []
        for _ in range(self.rng.choice((1, 1, 5, 30))):
            name = f"{digits}-{self.written}"
            self.written += 1
            answer = bench.keep(namespace, served, AckLevel.FSYNCED, raw_query=name)
            assert isinstance(answer, Receipt)
            receipts.append(answer)
            names.append(name)
            served += self.rng.choice((0, 0, 1, 10**6, 10**9))
        if self.rng.random() < 0.8:
            await bench.writer.acknowledged(receipts, AckLevel.FSYNCED)
            self.promised.setdefault(namespace, set()).update(names)

    async def outage(self) -> None:
        self.store.error_before_rate, self.store.error_after_rate = self.rng.choice(
            ((0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.2, 0.2), (1.0, 0.0), (0.0, 0.0))
        )

    async def step(self) -> None:
        action = self.rng.choices(("record", "advance", "crash", "outage"), (60, 25, 5, 10))[0]
        if action == "record":
            await self.record()
        elif action == "advance":
            await self.clock.advance(self.rng.choice((0.1, 0.5, 2.0, 16.0)))
        elif action == "crash":
            await self.crash(self.rng.choice(list(self.benches)))
        else:
            await self.outage()

    async def settle(self) -> None:
        """The store works again; everything gets there."""
        self.store.error_before_rate = self.store.error_after_rate = 0.0
        for _ in range(2_000):
            await self.clock.advance(1.0)
            if all(b.spool.size_bytes == 0 for b in self.benches.values()):
                return
        pytest.fail(f"seed {self.seed}: the spools do not empty")


async def walk(bench: Bench, namespace: str, limit: int) -> list[SearchEntry]:
    """All pages."""
    entries: list[SearchEntry] = []
    query = PageQuery(limit)
    while True:
        page = await bench.reader(searches(namespace), SearchEntry, query)
        entries += page.entries
        if page.next_cursor is None:
            return entries
        assert page.next_cursor - 1 < query.newest, "the cursor must move"
        query = PageQuery(limit, newest=page.next_cursor - 1)


def check_objects(memory: MemoryObjectStore, namespace: str) -> None:
    """The invariants of the layout, for every object."""
    kind = searches(namespace).kind
    stream = searches(namespace)
    by_stamp: dict[int, str | None] = {}
    for key, body in memory.objects.items():
        name = parse_object_key(kind, stream.namespace, key)
        if name is None:
            continue
        entries = [decode_line(line, SearchEntry) for line in split_lines(body)]
        known = [entry for entry in entries if entry is not None]
        assert len(known) == len(entries) > 0
        stamps = [entry.timestamp_nanos for entry in known]
        assert stamps == sorted(stamps)
        assert stamps[-1] <= name.nanos <= stamps[-1] + 1000
        assert stamps[-1] - stamps[0] <= MAX_SPAN_NANOS
        assert {day_of(stamp) for stamp in stamps} == {name.day}
        for entry in known:
            other = by_stamp.setdefault(entry.timestamp_nanos, entry.raw_query)
            assert other == entry.raw_query, "two entries have one timestamp"


def check_walk(entries: Sequence[SearchEntry], promised: set[str], seed: int) -> None:
    names = [entry.raw_query for entry in entries]
    stamps = [entry.timestamp_nanos for entry in entries]
    assert stamps == sorted(stamps, reverse=True), f"seed {seed}: not newest first"
    assert len(names) == len(set(names)), f"seed {seed}: an entry was visited twice"
    missing = promised - set(names)
    assert not missing, f"seed {seed}: {len(missing)} acknowledged entries are missing"


@pytest.mark.parametrize("seed", range(8))
async def test_nothing_acknowledged_is_ever_missing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    clock = ManualClock(ALMOST_MIDNIGHT)
    memory = MemoryObjectStore()
    store = FlakyObjectStore(memory, clock=clock, seed=seed)
    world = World(seed, tmp_path, rng, clock, memory, store, MemoryCache(clock))
    for digits in (1, 2, 999):
        await world.start(digits)
    try:
        for _ in range(STEPS):
            await world.step()
            if rng.random() < 0.1:
                await read_something(world)
        await world.settle()
        for namespace in NAMESPACES:
            check_objects(memory, namespace)
            for bench in world.benches.values():
                entries = await walk(bench, namespace, rng.choice((1, 7, 50, 500)))
                check_walk(entries, world.promised.get(namespace, set()), seed)
    finally:
        for stack in world.replicas.values():
            await stack.aclose()


async def read_something(world: World) -> None:
    """A walk in the middle of it all: no entry twice, none that is stored missing."""
    namespace = world.rng.choice(NAMESPACES)
    bench = world.benches[world.rng.choice(list(world.benches))]
    stored = {
        entry.raw_query
        for key, body in world.memory.objects.items()
        if parse_object_key(*searches(namespace), key)
        for entry in (decode_line(line, SearchEntry) for line in split_lines(body))
        if entry is not None
    }
    try:
        entries = await walk(bench, namespace, world.rng.choice((5, 50)))
    except LayerError:
        return
    check_walk(entries, {name for name in stored if name}, world.seed)
