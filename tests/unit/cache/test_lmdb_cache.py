"""The embedded cache: full, damaged, deleted, shared."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from services.cache.cache import CacheUnavailableError
from services.cache.lmdb_cache import LmdbCache
from tests.doubles.fake_clock import FakeClock

MAP_BYTES = 4 << 20


def small_cache(folder: Path, clock: FakeClock | None = None) -> LmdbCache:
    return LmdbCache(
        folder,
        map_size_bytes=MAP_BYTES,
        clock=clock or FakeClock(),
        max_value_bytes=MAP_BYTES // 32,
    )


def data_file(folder: Path) -> Path:
    (found,) = folder.glob("*/data.mdb")
    return found


async def test_values_outlive_the_process_that_wrote_them(tmp_path: Path) -> None:
    async with small_cache(tmp_path) as cache:
        await cache.put_many({"a": b"1"})
    async with small_cache(tmp_path) as cache:
        assert await cache.get_many(["a"]) == {"a": b"1"}


@pytest.mark.parametrize("sizes", [(50, 50), (100, 100_000), (131_000, 131_072)], ids=str)
async def test_a_full_cache_lets_the_oldest_go(tmp_path: Path, sizes: tuple[int, int]) -> None:
    rng = random.Random(7)
    async with small_cache(tmp_path) as cache:
        written = 0
        newest: dict[str, bytes] = {}
        while written < 4 * MAP_BYTES:
            newest = {f"{written}/{number}": bytes(rng.randint(*sizes)) for number in range(500)}
            newest = dict(list(newest.items())[: max(1, 500_000 // sizes[1])])
            assert await cache.put_many(newest) == len(newest)
            # Small values cost a key and two tree entries each.
            written += sum(len(value) + 100 for value in newest.values())
        assert cache.counts.evicted > 0
        assert cache.counts.emptied == 0
        assert await cache.get_many(list(newest)) == newest
        assert await cache.get_many(["0/0"]) == {}
    assert data_file(tmp_path).stat().st_size <= MAP_BYTES


async def test_expired_values_go_before_living_ones(tmp_path: Path) -> None:
    clock = FakeClock()
    async with small_cache(tmp_path, clock) as cache:
        await cache.put_many({"forever": b"x"})
        await cache.put_many({"later": b"x"}, ttl_seconds=1000)
        for number in range(200):
            clock.advance(1)
            await cache.put_many({f"short/{number}": bytes(100_000)}, ttl_seconds=0.5)
        assert set(await cache.get_many(["forever", "later"])) == {"forever", "later"}
        assert cache.counts.evicted == 0
        assert cache.counts.expired >= 199


@pytest.mark.parametrize(
    "damage",
    [lambda file: file.write_bytes(os.urandom(20_000)), lambda file: os.truncate(file, 8192)],
    ids=["garbage", "cut off"],
)
async def test_damaged_files_are_replaced(tmp_path: Path, damage: object) -> None:
    async with small_cache(tmp_path) as cache:
        await cache.put_many({str(number): bytes(5000) for number in range(20)})
    assert callable(damage)
    damage(data_file(tmp_path))
    async with small_cache(tmp_path) as cache:
        assert await cache.get_many(["1"]) == {}
        assert await cache.put_many({"1": b"again"}) == 1
        assert await cache.get_many(["1"]) == {"1": b"again"}
    assert data_file(tmp_path).exists()


async def test_files_deleted_under_a_running_cache_are_made_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    folder = tmp_path / "cache"
    async with small_cache(folder, clock) as cache:
        await cache.put_many({"a": b"1"})
        shutil.rmtree(folder)
        # Until the next look it goes on in the files that only it still has.
        assert await cache.get_many(["a"]) == {"a": b"1"}
        clock.advance(2)
        assert await cache.get_many(["a"]) == {}
        assert await cache.put_many({"a": b"2"}) == 1
    async with small_cache(folder, clock) as cache:
        assert await cache.get_many(["a"]) == {"a": b"2"}


async def test_files_of_an_earlier_boot_are_not_used(tmp_path: Path) -> None:
    async with small_cache(tmp_path) as cache:
        await cache.put_many({"a": b"1"})
    earlier = data_file(tmp_path).parent
    earlier.rename(tmp_path / "00000000-0000-0000-0000-000000000000-3")
    async with small_cache(tmp_path) as cache:
        assert await cache.get_many(["a"]) == {}
    assert data_file(tmp_path).exists()


async def test_a_folder_that_cannot_be_made_is_unavailable_and_not_fatal(tmp_path: Path) -> None:
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file")
    async with small_cache(in_the_way) as cache:
        with pytest.raises(CacheUnavailableError):
            await cache.get_many(["a"])
        in_the_way.unlink()
        assert await cache.put_many({"a": b"1"}) == 1


async def test_one_path_twice_in_a_process_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    async with small_cache(tmp_path) as cache, small_cache(tmp_path) as second:
        await cache.put_many({"a": b"1"})
        with pytest.raises(CacheUnavailableError):
            await second.get_many(["a"])
        assert await cache.get_many(["a"]) == {"a": b"1"}


async def test_a_closed_cache_is_unavailable(tmp_path: Path) -> None:
    cache = small_cache(tmp_path)
    with pytest.raises(CacheUnavailableError):
        await cache.get_many(["a"])


def test_the_map_must_have_room_for_the_largest_value(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 times"):
        LmdbCache(tmp_path, map_size_bytes=1 << 20, clock=FakeClock())


async def test_a_hopelessly_full_map_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the reserve, LMDB fills to where even deletes fail.
    monkeypatch.setattr("services.cache.lmdb_cache._FULL", 2.0)
    async with small_cache(tmp_path) as cache:
        values = {str(number): bytes(100_000) for number in range(100)}
        with pytest.raises(CacheUnavailableError):
            await cache.put_many(values)
        assert cache.counts.emptied == 1
        assert await cache.put_many({"a": b"1"}) == 1
        assert await cache.get_many(["a", "0"]) == {"a": b"1"}
