"""Real processes that share an LMDB cache, one of them killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.lmdb_program import KEYS_EACH, body_of, cache_in
from tests.faults.processes import lines, running

PROGRAM = "tests.faults.lmdb_program"


@pytest.mark.parametrize("killed_after", [1, 50, 333])
async def test_a_killed_process_harms_neither_the_others_nor_the_values(
    tmp_path: Path, killed_after: int
) -> None:
    with running(PROGRAM, tmp_path, "x") as x, running(PROGRAM, tmp_path, "y") as y:
        lines(y, 1)
        lines(x, killed_after)
        x.kill()
        x.wait()
        lines(y, 2 * KEYS_EACH)
        async with cache_in(tmp_path) as cache:
            keys = [f"{name}/{number}" for name in "xy" for number in range(KEYS_EACH)]
            found = await cache.get_many(keys)
            assert {f"y/{number}" for number in range(KEYS_EACH)} <= set(found)
            assert {f"x/{number}" for number in range(min(killed_after, KEYS_EACH))} <= set(found)
            for key, value in found.items():
                assert value == body_of(key)
            # It can be written, too: the dead one's lock is not in the way.
            assert await cache.put_many({"z": b"1"}) == 1
