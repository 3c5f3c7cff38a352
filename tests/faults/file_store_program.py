"""Uses a file store until it is killed; prints what was acknowledged.

python -m tests.faults.file_store_program write ROOT
python -m tests.faults.file_store_program race ROOT NAME      (starts at a line of input)
python -m tests.faults.file_store_program full ROOT           (no file may pass 100,000 bytes)
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import sys
from pathlib import Path

from services.storage.files import FileObjectStore
from services.storage.object_store import StoreUnavailableError

RACE_KEYS = [f"race/{number // 10}/{number}" for number in range(200)]


def body_of(key: str) -> bytes:
    """A body that is long enough to be cut in two, and can be checked."""
    return key.encode() * 20_000


async def write(store: FileObjectStore) -> None:
    numbers = itertools.count()

    async def writer() -> None:
        for number in numbers:
            key = f"k{number % 7}/{number}"
            await store.put(key, body_of(key), if_absent=number % 2 == 0)
            print(key, flush=True)

    await asyncio.gather(*(writer() for _ in range(8)))


async def race(store: FileObjectStore, name: str) -> None:
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for key in RACE_KEYS:
        if await store.put(key, name.encode(), if_absent=True):
            print(key, flush=True)


async def full(store: FileObjectStore) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    await store.put("fits", bytes(100_000))
    for if_absent in (True, False):
        try:
            await store.put("a/too-large", bytes(100_001), if_absent=if_absent)
        except StoreUnavailableError as error:
            print(error.message)
    print(await store.list(""), flush=True)


async def main(job: str, root: Path, *names: str) -> None:
    async with FileObjectStore(root) as store:
        if job == "write":
            await write(store)
        elif job == "race":
            await race(store, *names)
        else:
            await full(store)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
