"""Real processes that are killed, race, or meet a full disk while they use one file store."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.storage.files import FileObjectStore
from tests.faults.file_store_program import RACE_KEYS, body_of
from tests.faults.processes import lines, running

PROGRAM = "tests.faults.file_store_program"


def incoming_files(root: Path) -> list[Path]:
    return [path for path in (root / "incoming").rglob("*") if path.is_file()]


def incoming_folders(root: Path) -> int:
    return len(list((root / "incoming").iterdir()))


@pytest.mark.parametrize("acknowledgements", [1, 23, 57])
async def test_a_killed_writer_leaves_whole_objects_and_all_it_acknowledged(
    tmp_path: Path, acknowledgements: int
) -> None:
    with running(PROGRAM, "write", tmp_path) as process:
        acknowledged = lines(process, acknowledgements)
        process.kill()
        # What it had said before it died; the last line may be cut.
        acknowledged += lines(process)[:-1]
    assert incoming_folders(tmp_path) == 1
    async with FileObjectStore(tmp_path) as store:
        found = await store.list("")
        assert set(acknowledged) <= set(found)
        for key in found:
            assert await store.get(key) == body_of(key), key
        assert incoming_files(tmp_path) == []
        assert incoming_folders(tmp_path) == 1


async def test_a_starting_process_leaves_what_a_living_one_is_writing(tmp_path: Path) -> None:
    with running(PROGRAM, "write", tmp_path) as process:
        lines(process, 1)
        for _ in range(20):
            async with FileObjectStore(tmp_path):
                # Its writes would fail if its folder were taken away.
                lines(process, 2)


async def test_racing_processes_have_one_winner_a_key(tmp_path: Path) -> None:
    with running(PROGRAM, "race", tmp_path, "x") as x, running(PROGRAM, "race", tmp_path, "y") as y:
        won: dict[str, str] = {}
        for process in (x, y):
            assert lines(process, 1) == ["ready"]
        for process in (x, y):
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for name, process in (("x", x), ("y", y)):
            for key in lines(process):
                assert key not in won
                won[key] = name
    assert sorted(won) == sorted(RACE_KEYS)
    async with FileObjectStore(tmp_path) as store:
        for key, name in won.items():
            assert await store.get(key) == name.encode()


async def test_a_put_that_the_disk_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    with running(PROGRAM, "full", tmp_path) as process:
        said = lines(process)
    assert said == ["put a/too-large failed: File too large"] * 2 + ["['fits']"]
    assert incoming_files(tmp_path) == []
