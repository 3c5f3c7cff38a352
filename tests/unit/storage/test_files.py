"""The file store's layout, its failures, and what it leaves on the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from services.storage.files import FileObjectStore
from services.storage.object_store import StoreUnavailableError


def names_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


async def test_keys_are_readable_as_paths(tmp_path: Path) -> None:
    async with FileObjectStore(tmp_path) as store:
        for key in ("snapshots/products/82-ab.json", "a", "a/b.d", "a/b.d~"):
            await store.put(key, b"")
    assert names_in(tmp_path) == {
        "objects/snapshots.d/products.d/82-ab.json",
        "objects/a",
        "objects/a.d/b.d~",
        "objects/a.d/b.d~~",
    }


async def test_deletes_leave_no_folders_behind(tmp_path: Path) -> None:
    async with FileObjectStore(tmp_path) as store:
        await store.put("a/b/c/d", b"")
        await store.put("a/e", b"")
        await store.delete(["a/b/c/d"])
        assert {path.name for path in (tmp_path / "objects/a.d").iterdir()} == {"e"}
        await store.delete(["a/e"])
        assert list((tmp_path / "objects").iterdir()) == []


async def test_an_empty_folder_that_a_crash_left_is_not_a_child(tmp_path: Path) -> None:
    async with FileObjectStore(tmp_path) as store:
        (tmp_path / "objects/a.d/b.d/c.d").mkdir(parents=True)
        await store.put("a/d", b"")
        assert await store.list_children("a/") == ["d"]
        assert await store.list("") == ["a/d"]
        assert await store.list("a/b/") == []


async def test_a_put_finds_its_folder_pruned_by_another(tmp_path: Path) -> None:
    async with FileObjectStore(tmp_path) as one, FileObjectStore(tmp_path) as two:
        await one.put("a/b/c", b"1")
        await two.delete(["a/b/c"])
        assert await one.put("a/b/c", b"2", if_absent=True) is True
        assert await two.get("a/b/c") == b"2"


async def test_bodies_still_being_written_are_not_listed(tmp_path: Path) -> None:
    async with FileObjectStore(tmp_path) as store:
        abandoned = tmp_path / "incoming/dead"
        abandoned.mkdir()
        (abandoned / "0").write_bytes(b"half")
        assert await store.list("") == []
        assert await store.list_children("") == []
        assert abandoned.exists()
    async with FileObjectStore(tmp_path):
        assert not abandoned.exists()


async def test_a_root_that_is_no_folder_is_unavailable(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    store = FileObjectStore(in_the_way)
    with pytest.raises(StoreUnavailableError, match="open failed: ") as raised:
        await store.open()
    assert str(tmp_path) not in raised.value.message
    await store.close()


async def test_a_store_that_is_not_open_is_unavailable(tmp_path: Path) -> None:
    store = FileObjectStore(tmp_path)
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.get("a")
    async with store:
        assert await store.get("a") is None
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.get("a")


@pytest.mark.parametrize("limit", [1, 3])
async def test_listing_opens_no_folder_before_its_start_or_after_its_end(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FileObjectStore(tmp_path) as store:
        for number in range(30):
            await store.put(f"days/{number:02}/x", b"")
        opened: list[str] = []
        listdir = os.listdir

        def recording_listdir(path: Path) -> list[str]:
            opened.append(str(path.relative_to(tmp_path / "objects")))
            return listdir(path)

        monkeypatch.setattr(os, "listdir", recording_listdir)
        page = await store.list("days/", start_after="days/10/x", limit=limit)
    assert page == [f"days/{number}/x" for number in range(11, 11 + limit)]
    # The start's own folder may hold more keys after it.
    assert opened == ["days.d", *(f"days.d/{number}.d" for number in range(10, 11 + limit))]


@pytest.mark.skipif(sys.platform != "linux", reason="reads descriptors' paths in /proc")
@pytest.mark.parametrize("if_absent", [True, False])
async def test_an_acknowledged_put_is_durable_with_its_folders(
    tmp_path: Path, if_absent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link, replace = os.fsync, os.link, os.replace

    def recording_fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        steps.append(f"fsync {'body' if path.is_file() else path.relative_to(tmp_path)}")
        fsync(descriptor)

    def recording_link(source: Path, target: Path) -> None:
        steps.append("place")
        link(source, target)

    def recording_replace(source: Path, target: Path) -> None:
        steps.append("place")
        replace(source, target)

    async with FileObjectStore(tmp_path) as store:
        monkeypatch.setattr(os, "fsync", recording_fsync)
        monkeypatch.setattr(os, "link", recording_link)
        monkeypatch.setattr(os, "replace", recording_replace)
        await store.put("a/b/c", b"body", if_absent=if_absent)
        folders = ["fsync objects/a.d", "fsync objects"]
        assert steps == ["fsync body", *folders, "place", "fsync objects/a.d/b.d"]
        steps.clear()
        await store.put("a/b/d", b"body", if_absent=if_absent)
        assert steps == ["fsync body", "place", "fsync objects/a.d/b.d"]
        steps.clear()
        assert await store.put("a/b/d", b"body", if_absent=True) is False
        assert steps == ["fsync objects/a.d/b.d"]
        steps.clear()
        await store.delete(["a/b/c"])
        assert steps == ["fsync objects/a.d/b.d"]
