"""`layer searchlog erase` over a store on disk, as a person calls it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app
from services.formats.trail_keys import ObjectName, day_of, object_key
from services.searchlog.erasure_lock import ErasureLock
from services.storage.files import FileObjectStore
from tests.doubles.fake_clock import FakeClock
from tests.doubles.searchlog_bench import searches
from tests.doubles.stored_trail import search_line

START = 1_790_000_000_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store's folder with one object: a search of the session and another one."""
    folder = tmp_path / "objects"
    monkeypatch.setenv("LAYER_OBJECT_STORE", f"file://{folder}")
    monkeypatch.setenv("LAYER_CACHE", f"lmdb://{tmp_path / 'cache'}")
    monkeypatch.setenv("LAYER_CACHE_MEBIBYTES", "64")
    lines = [search_line(START, tags=["session:abc123"]), search_line(START + 1)]

    async def fill() -> None:
        async with FileObjectStore(folder) as store:
            key = object_key(*searches("n"), ObjectName(day_of(START), START + 1))
            await store.put(key, b"\n".join(lines) + b"\n")

    asyncio.run(fill())
    return folder


def stored(folder: Path) -> list[bytes]:
    async def read() -> list[bytes]:
        async with FileObjectStore(folder) as store:
            bodies = [await store.get(key) for key in await store.list("")]
        return [body for body in bodies if body is not None]

    return asyncio.run(read())


def erase(*options: str) -> Result:
    return CliRunner().invoke(app, ["searchlog", "erase", *options])


def test_a_session_is_erased_and_the_report_says_what_was_done(folder: Path) -> None:
    answer = erase("--tag", "session:abc123")
    assert answer.exit_code == 0, answer.output
    rows = [[part.strip() for part in line.split("│")[1:-1]] for line in answer.output.splitlines()]
    assert ["entries", "1"] in rows
    assert ["objects rewritten", "1"] in rows
    assert "run it again" in answer.output
    assert stored(folder) == [search_line(START + 1) + b"\n"]


def test_a_dry_run_leaves_everything(folder: Path) -> None:
    before = stored(folder)
    answer = erase("--namespace", "n", "--dry-run")
    assert answer.exit_code == 0, answer.output
    assert "would be erased" in answer.output
    assert stored(folder) == before
    assert erase("--namespace", "n").exit_code == 0
    assert stored(folder) == []


@pytest.mark.parametrize(
    "options", [(), ("--tag", "no spaces"), ("--trace-id", "7"), ("--namespace", "..")]
)
def test_wrong_options_are_one_line_and_status_2(folder: Path, options: tuple[str, ...]) -> None:
    answer = erase(*options)
    assert answer.exit_code == 2
    assert answer.stderr.startswith("erase: ")
    assert answer.stderr.count("\n") == 1
    assert len(stored(folder)) == 1


def test_one_erasure_at_a_time(folder: Path) -> None:
    async def lock() -> None:
        async with FileObjectStore(folder) as store:
            held = ErasureLock(store, FakeClock(START), holder="another:7").held()
            await held.__aenter__()  # A killed process never leaves.

    asyncio.run(lock())
    refused = erase("--tag", "session:abc123")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "erase: another erasure runs since 2026-09-21T14:13:20+00:00, by another:7; "
        "if it was killed, use --break-lock\n"
    )
    assert erase("--tag", "session:abc123", "--dry-run").exit_code == 0
    assert erase("--tag", "session:abc123", "--break-lock").exit_code == 0
    assert stored(folder) == [search_line(START + 1) + b"\n"]
    # It was given back.
    assert erase("--tag", "session:abc123").exit_code == 0


def test_a_store_that_cannot_be_used_is_one_line_and_status_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LAYER_OBJECT_STORE", f"file://{tmp_path / 'file' / 'objects'}")
    answer = erase("--tag", "session:abc123")
    assert answer.exit_code == 1, answer.output
    assert answer.stderr.startswith("erase: ")
    assert answer.stderr.count("\n") == 1


def test_the_bare_command_still_runs_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAYER_SEARCHLOG_PORT", "no port")
    answer = CliRunner().invoke(app, ["searchlog"])
    assert answer.exit_code == 2
    assert "LAYER_SEARCHLOG_PORT" in answer.stderr
