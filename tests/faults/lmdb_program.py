"""Uses an LMDB cache until it is killed; prints each key that was kept.

python -m tests.faults.lmdb_program FOLDER NAME
python -m tests.faults.lmdb_program FOLDER --read     (stays in the middle of a read)
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from services.cache.lmdb_cache import LmdbCache
from services.cache.lmdb_environment import LmdbEnvironment
from services.core.clock import SystemClock

MAP_BYTES = 16 << 20
KEYS_EACH = 200


def body_of(key: str) -> bytes:
    """A body that is long enough to be cut in two, and can be checked."""
    return key.encode() * 3_000


def cache_in(folder: Path) -> LmdbCache:
    return LmdbCache(
        folder, map_size_bytes=MAP_BYTES, clock=SystemClock(), max_value_bytes=MAP_BYTES // 32
    )


async def main(folder: Path, name: str) -> None:
    async with cache_in(folder) as cache:
        for number in itertools.count():
            key = f"{name}/{number % KEYS_EACH}"
            assert await cache.put_many({key: body_of(key)}) == 1
            assert await cache.get_many([key]) in ({}, {key: body_of(key)})
            print(key, flush=True)


def read(folder: Path) -> None:
    opened = LmdbEnvironment(folder, map_size_bytes=MAP_BYTES).open()
    with opened.env.begin() as txn:
        assert txn.stat(opened.records)["entries"] > 0
        print("reading", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[2] == "--read":
        read(Path(sys.argv[1]))
    else:
        asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
