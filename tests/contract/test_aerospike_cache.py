"""What Aerospike does that other caches do not; asked of the fake client too, where it can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aerospike
import pytest

from services.cache.aerospike_cache import AerospikeCache, AerospikeSettings, connect
from services.cache.cache import Cache, CacheUnavailableError
from tests.contract.cache_backends import BACKENDS, aerospike_settings
from tests.doubles.fake_clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["aerospike", "aerospike with a fake client"])
async def cache(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Cache]:
    async with BACKENDS[request.param](tmp_path, clock) as opened:
        yield opened


@pytest.fixture
def settings() -> AerospikeSettings:
    return aerospike_settings()


@pytest.fixture
async def real(settings: AerospikeSettings, clock: FakeClock) -> AsyncIterator[Cache]:
    async with AerospikeCache(settings, clock=clock) as opened:
        yield opened


@pytest.fixture
def client(settings: AerospikeSettings) -> Iterator[aerospike.Client]:
    """The server, past the adapter."""
    client = connect(settings)
    yield client
    client.close()


async def test_a_group_over_the_record_limit_does_not_take_more(cache: Cache) -> None:
    half = bytes(600_000)
    assert await cache.put_member("g", "one", half, ttl_seconds=10) is True
    assert await cache.put_member("g", "two", b"small", ttl_seconds=10) is True
    assert await cache.put_member("g", "two", half, ttl_seconds=10) is False
    assert await cache.members("g") == {"one": half}


async def test_expired_members_make_room(cache: Cache, clock: FakeClock) -> None:
    for number in range(20):
        assert await cache.put_member("g", str(number), bytes(500_000), ttl_seconds=1)
        clock.advance(1.5)


async def test_records_live_as_long_as_their_values(
    real: Cache, client: aerospike.Client, settings: AerospikeSettings
) -> None:
    def ttl_of(key: str) -> int:
        _, meta, _ = client.get((settings.namespace, settings.set_name, key))
        return int(meta["ttl"])

    await real.put_many({"a": b"1"}, ttl_seconds=600)
    await real.put_member("g", "m", b"1", ttl_seconds=7200)
    await real.put_member("g", "n", b"1", ttl_seconds=7200)
    assert 590 <= ttl_of("v/a") <= 600
    assert 7190 <= ttl_of("g/g") <= 7200
    # One that is too large is removed, which does not make the others live longer or shorter.
    assert not await real.put_member("g", "n", bytes(1 << 20), ttl_seconds=5)
    assert 7190 <= ttl_of("g/g") <= 7200


async def test_a_large_batch_is_kept_whole(real: Cache) -> None:
    values = {str(number): bytes(1_000_000) for number in range(140)}
    try:
        assert await real.put_many(values, ttl_seconds=60) == len(values)
    finally:
        await real.delete(list(values))


async def test_a_set_that_takes_no_more_is_still_read(
    real: Cache, client: aerospike.Client, settings: AerospikeSettings
) -> None:
    await real.put_many({"a": b"1"}, ttl_seconds=60)
    limit = f"namespace={settings.namespace};set={settings.set_name};stop-writes-count=1"
    for error, answer in client.info_all(f"set-config:context=namespace;{limit}").values():
        assert error is None
        assert answer.rstrip().endswith("ok"), answer
    with pytest.raises(CacheUnavailableError, match="ForbiddenError"):
        await real.put_many({"b": b"1"}, ttl_seconds=60)
    with pytest.raises(CacheUnavailableError, match="ForbiddenError"):
        await real.put_member("g", "m", b"1", ttl_seconds=60)
    assert await real.get_many(["a", "b"]) == {"a": b"1"}
    await real.delete(["a"])
    assert await real.get_many(["a"]) == {}


async def test_one_of_several_hosts_has_to_answer(
    settings: AerospikeSettings, clock: FakeClock
) -> None:
    hosts = f"127.0.0.1:1,{settings.hosts},127.0.0.1:2"
    some = AerospikeSettings(hosts, settings.namespace, settings.set_name, timeout_ms=2000)
    async with AerospikeCache(some, clock=clock) as cache:
        assert await cache.put_many({"a": b"1"}, ttl_seconds=60) == 1
        assert await cache.get_many(["a"]) == {"a": b"1"}


async def test_an_unknown_namespace_is_unavailable_and_logged(
    settings: AerospikeSettings, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = AerospikeSettings(settings.hosts, "no-such-one", timeout_ms=settings.timeout_ms)
    async with AerospikeCache(wrong, clock=clock) as cache:
        with pytest.raises(CacheUnavailableError, match="NamespaceNotFound"):
            await cache.get_many(["a"])
        with pytest.raises(CacheUnavailableError, match="NamespaceNotFound"):
            await cache.put_many({"a": b"1"})
    assert [vars(record)["cause"] for record in caplog.records] == [
        "there is no such namespace: nothing is cached"
    ]
