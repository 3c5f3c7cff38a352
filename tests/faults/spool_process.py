"""Appends to a spool and reports each synced record on standard output, until it is killed.

Usage: python -m tests.faults.spool_process FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.core.clock import SystemClock
from services.searchlog.spool import Spool, SpoolLimits


async def main(folder: Path) -> None:
    spool = await Spool.open(folder, SystemClock(), SpoolLimits(segment_bytes=20_000))
    run = asyncio.create_task(spool.run())
    number = 0
    while not run.done():
        numbers = range(number, number + 7)
        number += 7
        groups = [spool.append(f"record-{n:08d}".encode() * 5, in_memory=True) for n in numbers]
        for group in groups:
            assert group is not None
            await group.durable.wait()
        sys.stdout.write(f"{numbers[-1]}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
