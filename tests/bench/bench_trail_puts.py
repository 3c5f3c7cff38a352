"""PUTs per million entries: the real writer on a simulated clock, over a store that counts."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

from services.cache.no_cache import NoCache
from services.searchlog.batch import FlushRules
from services.searchlog.model import AckLevel
from services.searchlog.writer import Receipt
from services.storage.counting import CountingObjectStore
from tests.doubles.manual_clock import ManualClock
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.searchlog_bench import open_bench

_PER_SECOND = 1_000
_NAMESPACES = 10_000


async def puts(entries: int, namespaces: int, rules: FlushRules, folder: Path) -> int:
    """PUTs for so many entries at 1,000 a second, each of a random namespace."""
    clock, rng = ManualClock(), random.Random(1)
    store = CountingObjectStore(MemoryObjectStore())
    names = [f"tenant-{n}" for n in range(namespaces)]
    async with open_bench(folder, store, NoCache(), clock, rules=rules) as bench:
        for _ in range(entries // _PER_SECOND):
            for _ in range(10):
                for _ in range(_PER_SECOND // 10):
                    answer = bench.keep(rng.choice(names), clock.now_ns(), AckLevel.FSYNCED)
                    assert isinstance(answer, Receipt)
                    last = answer
                    clock.tick(10**9 // _PER_SECOND)
                await clock.advance(0)
            # The spool's disk is real: let it keep up.
            await last.group.durable.wait()
        for _ in range(round(rules.linger_seconds * 10) + 10):
            await clock.advance(0.1)
        assert bench.counts.written == entries
    return store.counts.put


async def _main() -> None:
    cases = (
        ("one namespace, 1,000/s", 300_000, 1, FlushRules(), 1_100),
        ("10,000 namespaces, 15 s linger", 100_000, _NAMESPACES, FlushRules(), 1e6 / 1.4),
        (
            "10,000 namespaces, 60 s linger",
            200_000,
            _NAMESPACES,
            FlushRules(linger_seconds=60),
            1e6 / 5,
        ),
    )
    for name, entries, namespaces, rules, target in cases:
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            count = await puts(entries, namespaces, rules, Path(folder))
            seconds = time.perf_counter() - started
        million = count * 1_000_000 / entries
        print(
            f"  {name:<32} {million:>10,.0f} PUTs a million, target {target:>9,.0f}: "
            f"{'met' if million <= target else 'MISSED'};  1 PUT each would be "
            f"{1e6 / million:,.1f}x  ({entries:,} entries in {seconds:.0f} s)"
        )


def main() -> None:
    """Print PUTs per million entries, the target, and the ratio to one object an entry."""
    asyncio.run(_main())


if __name__ == "__main__":
    main()
