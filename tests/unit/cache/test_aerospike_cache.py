"""The Aerospike adapter where no cluster answers, and what it asks of one that does."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import aerospike
import pytest
from aerospike import exception as aerospike_errors

from services.cache.aerospike_cache import AerospikeCache, AerospikeSettings
from services.cache.cache import CacheUnavailableError
from services.core.clock import SystemClock
from tests.doubles.fake_aerospike_client import FakeAerospikeClient
from tests.doubles.fake_clock import FakeClock


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("port", ["silent_port", "closed_port"])
async def test_an_absent_cluster_is_unavailable_soon(
    request: pytest.FixtureRequest, port: str
) -> None:
    clock = SystemClock()
    settings = AerospikeSettings(f"127.0.0.1:{request.getfixturevalue(port)}")
    async with AerospikeCache(settings, clock=clock) as cache:
        for _ in range(5):
            began = clock.monotonic()
            with pytest.raises(CacheUnavailableError):
                await cache.get_many(["a"])
            assert clock.monotonic() - began < 2


async def test_a_connection_is_tried_once_a_second() -> None:
    clock = FakeClock()
    tries = 0

    def refuse(_: AerospikeSettings) -> aerospike.Client:
        nonlocal tries
        tries += 1
        raise aerospike_errors.ClusterError

    settings = AerospikeSettings("a:3000,b:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=clock, connector=refuse) as cache:
        for _ in range(30):
            with pytest.raises(CacheUnavailableError):
                await cache.get_many(["a"])
            clock.advance(0.1)
    assert 3 <= tries <= 4


async def test_a_lost_cluster_is_unavailable_until_it_is_back() -> None:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        await cache.put_many({"a": b"1"})
        client.down = True
        with pytest.raises(CacheUnavailableError, match="ClusterError"):
            await cache.get_many(["a"])
        client.down = False
        assert await cache.get_many(["a"]) == {"a": b"1"}


async def test_records_live_no_longer_than_needed() -> None:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        await cache.put_many({"a": b"1"}, ttl_seconds=1.2)
        await cache.put_many({"b": b"1"})
        await cache.put_member("g", "m", b"1", ttl_seconds=7200)
        await cache.put_member("h", "m", b"1", ttl_seconds=2)
    ttls = {key[2]: ttl for key, ttl in client.ttls.items()}
    assert ttls == {"v/a": 2, "v/b": aerospike.TTL_NEVER_EXPIRE, "g/g": 7200, "g/h": 3600}


async def test_a_group_over_the_record_limit_does_not_take_more() -> None:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        half = bytes(600_000)
        assert await cache.put_member("g", "one", half, ttl_seconds=10) is True
        assert await cache.put_member("g", "two", b"small", ttl_seconds=10) is True
        assert await cache.put_member("g", "two", half, ttl_seconds=10) is False
        assert await cache.members("g") == {"one": half}


async def test_expired_members_make_room() -> None:
    client = FakeAerospikeClient()
    clock = FakeClock()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=clock, connector=client.connect) as cache:
        for number in range(20):
            assert await cache.put_member("g", str(number), bytes(500_000), ttl_seconds=1)
            clock.advance(1.5)


@pytest.mark.parametrize("hosts", ["", "host", "host:port"])
def test_mistyped_hosts_fail_at_once(hosts: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        AerospikeCache(AerospikeSettings(hosts), clock=FakeClock())
