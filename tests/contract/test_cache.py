"""What the services rely on in a cache, asked of every backend and wrapper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.cache.cache import MAX_VALUE_BYTES, Cache
from tests.contract.cache_backends import BACKENDS
from tests.doubles.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=list(BACKENDS))
async def cache(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Cache]:
    async with BACKENDS[request.param](tmp_path, clock) as opened:
        yield opened


async def test_only_present_keys_are_answered(cache: Cache) -> None:
    assert await cache.get_many([]) == {}
    assert await cache.get_many(["a"]) == {}
    assert await cache.put_many({"a": b"1", "b": b"", "é/\U0001f600": b"\0\xff"}) == 3
    found = await cache.get_many(["a", "b", "no", "é/\U0001f600"])
    assert found == {"a": b"1", "b": b"", "é/\U0001f600": b"\0\xff"}


async def test_put_replaces_value_and_expiry(cache: Cache, clock: FakeClock) -> None:
    await cache.put_many({"a": b"old", "b": b"old"}, ttl_seconds=10)
    await cache.put_many({"a": b"new"}, ttl_seconds=20)
    await cache.put_many({"b": b"new"})
    clock.advance(15)
    assert await cache.get_many(["a", "b"]) == {"a": b"new", "b": b"new"}


async def test_values_expire(cache: Cache, clock: FakeClock) -> None:
    await cache.put_many({"a": b"1"}, ttl_seconds=10)
    await cache.put_many({"b": b"2"}, ttl_seconds=30)
    await cache.put_many({"c": b"3"})
    clock.advance(9.5)
    assert set(await cache.get_many(["a", "b", "c"])) == {"a", "b", "c"}
    clock.advance(1)
    assert set(await cache.get_many(["a", "b", "c"])) == {"b", "c"}
    clock.advance(1_000_000)
    assert set(await cache.get_many(["a", "b", "c"])) == {"c"}


async def test_delete_forgets_and_ignores_the_absent(cache: Cache) -> None:
    await cache.put_many({"a": b"1", "b": b"2"}, ttl_seconds=10)
    await cache.delete(["a", "no"])
    await cache.delete(["a"])
    await cache.delete([])
    assert await cache.get_many(["a", "b"]) == {"b": b"2"}


async def test_many_keys_at_once(cache: Cache) -> None:
    values = {f"k/{number}": b"%d" % number for number in range(1500)}
    assert await cache.put_many(values) == 1500
    assert await cache.get_many(list(values)) == values
    await cache.delete(list(values))
    assert await cache.get_many(list(values)) == {}


async def test_values_up_to_the_limit_are_kept(cache: Cache) -> None:
    longest = b"x" * MAX_VALUE_BYTES
    assert await cache.put_many({"a": longest, "b": longest + b"x", "c": b"1"}) == 2
    assert await cache.get_many(["a", "b", "c"]) == {"a": longest, "c": b"1"}


async def test_a_value_over_the_limit_leaves_no_older_one(cache: Cache) -> None:
    await cache.put_many({"a": b"old"})
    assert await cache.put_many({"a": b"x" * (MAX_VALUE_BYTES + 1)}) == 0
    assert await cache.get_many(["a"]) == {}


async def test_long_keys_are_told_apart(cache: Cache) -> None:
    keys = ["k" * length for length in (509, 510, 511, 512, 1024)] + ["k" * 1023 + "é"]
    assert await cache.put_many({key: key.encode() for key in keys}) == len(keys)
    assert await cache.get_many(keys) == {key: key.encode() for key in keys}
    await cache.delete(keys[2:])
    assert await cache.get_many(keys) == {key: key.encode() for key in keys[:2]}


async def test_members_are_read_as_a_group(cache: Cache) -> None:
    assert await cache.members("g") == {}
    assert await cache.put_member("g", "one", b"1", ttl_seconds=10) is True
    assert await cache.put_member("g", "two" * 300, b"2", ttl_seconds=10) is True
    assert await cache.put_member("g2", "one", b"other group", ttl_seconds=10) is True
    assert await cache.put_member("g", "one", b"replaced", ttl_seconds=10) is True
    assert await cache.members("g") == {"one": b"replaced", "two" * 300: b"2"}
    assert await cache.members("g2") == {"one": b"other group"}


async def test_members_expire_one_by_one(cache: Cache, clock: FakeClock) -> None:
    await cache.put_member("g", "short", b"1", ttl_seconds=2)
    await cache.put_member("g", "long", b"2", ttl_seconds=60)
    clock.advance(1)
    await cache.put_member("g", "renewed", b"3", ttl_seconds=2)
    assert set(await cache.members("g")) == {"short", "long", "renewed"}
    clock.advance(1.5)
    assert set(await cache.members("g")) == {"long", "renewed"}


async def test_members_are_not_values(cache: Cache) -> None:
    await cache.put_many({"g": b"value"})
    await cache.put_member("g", "m", b"member", ttl_seconds=10)
    await cache.delete(["g"])
    assert await cache.members("g") == {"m": b"member"}
    assert await cache.get_many(["g"]) == {}


async def test_a_member_over_the_limit_is_not_kept(cache: Cache) -> None:
    await cache.put_member("g", "m", b"old", ttl_seconds=10)
    await cache.put_member("g", "n", b"kept", ttl_seconds=10)
    too_large = b"x" * (MAX_VALUE_BYTES + 1)
    assert await cache.put_member("g", "m", too_large, ttl_seconds=10) is False
    assert await cache.members("g") == {"n": b"kept"}
