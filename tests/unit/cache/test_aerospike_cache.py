"""The Aerospike adapter where no cluster answers, and what it asks of one that does."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aerospike
import pytest
from aerospike import exception as aerospike_errors

from services.cache.aerospike_cache import AerospikeCache, AerospikeSettings, connect
from services.cache.cache import MAX_VALUE_BYTES, CacheUnavailableError
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
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: cache.get_many(["a"]),
            lambda: cache.put_many({"a": b"2"}, ttl_seconds=10),
            lambda: cache.delete(["a"]),
            lambda: cache.put_member("g", "m", b"1", ttl_seconds=10),
            lambda: cache.members("g"),
        ]
        client.down = True
        for call in calls:
            with pytest.raises(CacheUnavailableError, match=r"ServerError|ClusterError"):
                await call()
        client.down = False
        assert await cache.get_many(["a"]) == {"a": b"1"}


async def test_a_full_namespace_is_still_read() -> None:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        await cache.put_many({"a": b"1"})
        client.refusal = 8
        with pytest.raises(CacheUnavailableError, match="ServerFull"):
            await cache.put_many({"a": b"2"}, ttl_seconds=10)
        with pytest.raises(CacheUnavailableError, match="ServerFull"):
            await cache.put_member("g", "m", b"1", ttl_seconds=10)
        assert await cache.get_many(["a"]) == {"a": b"1"}
        await cache.delete(["a"])
        assert await cache.get_many(["a"]) == {}


async def test_one_request_carries_no_more_than_a_server_takes() -> None:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        large = {str(number): bytes(MAX_VALUE_BYTES) for number in range(20)}
        assert await cache.put_many({**large, "small": b"1"}) == 21
        assert await cache.put_many({str(number): b"1" for number in range(1000)}) == 1000
    assert client.batches == [8, 8, 5, 500, 500]


async def test_problems_of_the_namespace_are_logged_when_connecting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeAerospikeClient()
    client.about = "type=unknown"
    settings = AerospikeSettings("a:3000", "mistyped", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        for _ in range(2):
            await cache.get_many(["a"])
    assert [vars(record)["cause"] for record in caplog.records] == [
        "there is no such namespace: nothing is cached"
    ]


def test_every_call_has_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Client:
        def __init__(self, config: dict[str, Any]) -> None:
            seen.update(config)

        def connect(self) -> Client:
            return self

        def is_connected(self) -> bool:
            return True

    monkeypatch.setattr(aerospike, "client", Client)
    connect(AerospikeSettings("a:3000", timeout_ms=123))
    kinds = {"read", "write", "operate", "remove", "batch", "batch_parent_write"}
    for kind in kinds:
        policy = seen["policies"][kind]
        assert (policy["total_timeout"], policy["max_retries"]) == (123, 0), kind


async def test_records_live_no_longer_than_needed() -> None:
    client = FakeAerospikeClient()
    settings = AerospikeSettings("a:3000", timeout_ms=5000)
    async with AerospikeCache(settings, clock=FakeClock(), connector=client.connect) as cache:
        await cache.put_many({"a": b"1"}, ttl_seconds=1.2)
        await cache.put_many({"b": b"1"})
        await cache.put_member("g", "m", b"1", ttl_seconds=7200)
        await cache.put_member("h", "m", b"1", ttl_seconds=2)
    ttls = {key[2]: ttl for key, ttl in client.ttls.items()}
    assert ttls == {"v/a": 2, "v/b": aerospike.TTL_NAMESPACE_DEFAULT, "g/g": 7200, "g/h": 3600}


@pytest.mark.parametrize("hosts", ["", "host", "host:port"])
def test_mistyped_hosts_fail_at_once(hosts: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        AerospikeCache(AerospikeSettings(hosts), clock=FakeClock())
