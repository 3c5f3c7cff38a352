"""The cache of many machines: an Aerospike cluster."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Self, TypeVar

import aerospike
from aerospike import Client
from aerospike import exception as aerospike_errors
from aerospike_helpers.batch.records import BatchRecord, BatchRecords, Write
from aerospike_helpers.operations import map_operations, operations

from services.cache.aerospike_namespace import namespace_problems
from services.cache.cache import MAX_VALUE_BYTES, CacheUnavailableError
from services.core.clock import Clock

__all__ = ["AerospikeCache", "AerospikeSettings", "connect"]

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

# Bin names have at most 15 characters.
_VALUE_BIN = "value"
_MEMBERS_BIN = "members"

_OK, _NOT_FOUND, _TOO_BIG = 0, 2, 13
"""Result codes of single records in a batch (aerospike/as_status.h)."""
_SOME_FAILED: Final = -16
"""The result of a batch that was carried out, but not for each of its records."""
_RESULT_NAMES: Final[Mapping[int | None, str]] = {
    getattr(error, "code", None): name
    for name, error in vars(aerospike_errors).items()
    if isinstance(error, type)
}

_EXPIRY = struct.Struct(">Q")
_NEVER = 0

_KEYS_PER_BATCH = 500
_BYTES_PER_BATCH = 8 * 1024 * 1024
"""A server hangs up on a request of more than 128 MiB."""
_CONNECT_SECONDS = 1.0
# Batches that write have a parent policy of their own.
_POLICY_KINDS = ("read", "write", "operate", "remove", "batch", "batch_parent_write")
_GROUP_SECONDS = 3600
"""The least life of a group's record, since a short-lived member must not take along those
that live longer; members expire by their own time."""


@dataclass(frozen=True)
class AerospikeSettings:
    """Where the cluster is. `deploy/aerospike.conf` has the namespace as it should be."""

    hosts: str
    """`LAYER_AEROSPIKE_HOSTS`: `host:port,host:port`, of which one has to answer."""
    namespace: str = "layer"
    """`LAYER_AEROSPIKE_NAMESPACE`"""
    set_name: str = "cache"
    """`LAYER_AEROSPIKE_SET_NAME`"""
    timeout_ms: int = 200
    """`LAYER_AEROSPIKE_TIMEOUT_MS`: for a call, and for a connection."""
    threads: int = 8

    def addresses(self) -> list[tuple[str, int]]:
        """The hosts, apart.

        Raises:
            ValueError: a port is not a number.
        """
        pairs = (host.strip().rpartition(":") for host in self.hosts.split(","))
        return [(host, int(port)) for host, _, port in pairs]


class AerospikeCache:
    """A cache in one set of an Aerospike namespace.

    Values are records with one bin: 8 bytes of expiry in nanoseconds (0: never) and the value.
    The server's expiry is in whole seconds and only frees the space; the stored one decides.
    A value without expiry gets the namespace's `default-ttl`, since only what expires is evicted.
    A group is one record with a map bin, `{member: [expiry, value]}`, so all of its members
    together are under the record limit.

    The client is synchronous C, so it runs on `threads` threads. Nothing connects before the
    first call, and while the cluster is away one call a second tries.
    """

    def __init__(
        self,
        settings: AerospikeSettings,
        *,
        clock: Clock,
        max_value_bytes: int = MAX_VALUE_BYTES,
        connector: Callable[[AerospikeSettings], Client] | None = None,
    ) -> None:
        settings.addresses()  # A mistyped host fails at the start and not as a lost cache.
        self._settings = settings
        self._clock = clock
        self._max_value_bytes = max_value_bytes
        self._connector = connector or connect
        self._client: Client | None = None
        self._connecting = threading.Lock()
        self._connect_at = -math.inf
        self._executor: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Start the threads; does not connect."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                self._settings.threads, thread_name_prefix="aerospike-cache"
            )

    async def close(self) -> None:
        """Finish what runs and close the connections."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await asyncio.to_thread(executor.shutdown, cancel_futures=True)
        if self._client is not None:
            client, self._client = self._client, None
            await asyncio.to_thread(client.close)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for batch in _batches(keys):
            found |= await self._run(partial(self._get, keys=batch))
        return found

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        fitting = [key for key, value in values.items() if len(value) <= self._max_value_bytes]
        kept = set()
        for some in _portions({key: values[key] for key in fitting}):
            kept |= await self._run(partial(self._put, values=some, ttl_seconds=ttl_seconds))
        await self.delete([key for key in values if key not in kept])
        return len(kept)

    async def delete(self, keys: Sequence[str]) -> None:
        for batch in _batches(keys):
            await self._run(partial(self._remove, keys=batch))

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        if len(value) <= self._max_value_bytes:
            put = partial(
                self._put_member, group=group, member=member, value=value, ttl_seconds=ttl_seconds
            )
            if await self._run(put):
                return True
        await self._run(partial(self._remove_member, group=group, member=member))
        return False

    async def members(self, group: str) -> Mapping[str, bytes]:
        return await self._run(partial(self._members, group=group))

    # What follows runs on the cache's threads.

    def _get(self, client: Client, keys: Sequence[str]) -> dict[str, bytes]:
        now_ns = self._clock.now_ns()
        found = {}
        answers = client.batch_read([self._value_key(key) for key in keys], [_VALUE_BIN])
        for key, answer in zip(keys, _records(answers, len(keys)), strict=True):
            if answer.result == _NOT_FOUND:
                continue
            _expect(answer.result, _OK)
            stored = bytes(answer.record[2][_VALUE_BIN])
            (expires_ns,) = _EXPIRY.unpack_from(stored)
            if expires_ns == _NEVER or expires_ns > now_ns:
                found[key] = stored[_EXPIRY.size :]
        return found

    def _put(
        self, client: Client, values: Mapping[str, bytes], ttl_seconds: float | None
    ) -> set[str]:
        policy = {
            "exists": aerospike.POLICY_EXISTS_CREATE_OR_REPLACE,
            "ttl": (
                aerospike.TTL_NAMESPACE_DEFAULT if ttl_seconds is None else math.ceil(ttl_seconds)
            ),
        }
        head = _EXPIRY.pack(_NEVER if ttl_seconds is None else self._expires_ns(ttl_seconds))
        writes = [
            Write(
                self._value_key(key),
                [operations.write(_VALUE_BIN, head + value)],
                policy=policy,
            )
            for key, value in values.items()
        ]
        answers = _records(client.batch_write(BatchRecords(writes)), len(writes))
        for answer in answers:
            _expect(answer.result, _OK, _TOO_BIG)
        return {key for key, answer in zip(values, answers, strict=True) if answer.result == _OK}

    def _remove(self, client: Client, keys: Sequence[str]) -> None:
        answers = client.batch_remove([self._value_key(key) for key in keys])
        for answer in _records(answers, len(keys)):
            _expect(answer.result, _OK, _NOT_FOUND)

    def _put_member(
        self, client: Client, group: str, member: str, value: bytes, ttl_seconds: float
    ) -> bool:
        stored = [self._expires_ns(ttl_seconds), value]
        try:
            client.operate(
                self._group_key(group),
                [
                    map_operations.map_put(_MEMBERS_BIN, member, stored),
                    # After the put, so that there is a map to look through. Lists compare
                    # element by element: these are the members whose expiry is past.
                    map_operations.map_remove_by_value_range(
                        _MEMBERS_BIN,
                        [_NEVER],
                        [self._clock.now_ns()],
                        aerospike.MAP_RETURN_NONE,
                    ),
                ],
                policy={"ttl": max(_GROUP_SECONDS, math.ceil(ttl_seconds))},
            )
        except aerospike_errors.RecordTooBig:
            return False
        return True

    def _remove_member(self, client: Client, group: str, member: str) -> None:
        remove = map_operations.map_remove_by_key(_MEMBERS_BIN, member, aerospike.MAP_RETURN_NONE)
        with suppress(aerospike_errors.RecordNotFound):
            client.operate(
                self._group_key(group), [remove], policy={"ttl": aerospike.TTL_DONT_UPDATE}
            )

    def _members(self, client: Client, group: str) -> dict[str, bytes]:
        now_ns = self._clock.now_ns()
        try:
            _, _, bins = client.get(self._group_key(group))
        except aerospike_errors.RecordNotFound:
            return {}
        return {
            member: bytes(value)
            for member, (expires_ns, value) in bins.get(_MEMBERS_BIN, {}).items()
            if expires_ns > now_ns
        }

    def _value_key(self, key: str) -> tuple[str, str, str]:
        return (self._settings.namespace, self._settings.set_name, f"v/{key}")

    def _group_key(self, group: str) -> tuple[str, str, str]:
        return (self._settings.namespace, self._settings.set_name, f"g/{group}")

    def _expires_ns(self, ttl_seconds: float) -> int:
        return self._clock.now_ns() + int(ttl_seconds * 1e9)

    async def _run(self, work: Callable[[Client], _T]) -> _T:
        if self._executor is None:
            raise CacheUnavailableError("aerospike cache is not open")
        loop = asyncio.get_running_loop()
        try:
            # The client keeps its own time limits; this one covers a wait for a thread.
            async with asyncio.timeout(2 * self._settings.timeout_ms / 1000):
                return await loop.run_in_executor(self._executor, self._attempt, work)
        except TimeoutError as error:
            raise CacheUnavailableError("aerospike cache is too slow") from error

    def _attempt(self, work: Callable[[Client], _T]) -> _T:
        try:
            return work(self._connected())
        except aerospike_errors.AerospikeError as error:
            raise CacheUnavailableError(
                f"aerospike cache failed: {type(error).__name__}"
            ) from error

    def _connected(self) -> Client:
        if self._client is None:
            if not self._connecting.acquire(blocking=False):
                raise CacheUnavailableError("aerospike cache is being connected")
            try:
                self._connect()
            finally:
                self._connecting.release()
        assert self._client is not None
        return self._client

    def _connect(self) -> None:
        if self._client is not None:
            return
        now = self._clock.monotonic()
        if now < self._connect_at:
            raise CacheUnavailableError("aerospike cluster is away")
        self._connect_at = now + _CONNECT_SECONDS
        client = self._connector(self._settings)
        self._warn_of_problems(client)
        self._client = client

    def _warn_of_problems(self, client: Client) -> None:
        """A cache that keeps nothing works, so that nobody would notice."""
        question = f"namespace/{self._settings.namespace}"
        with suppress(aerospike_errors.AerospikeError):
            answer = client.info_random_node(question, {"timeout": self._settings.timeout_ms})
            for problem in namespace_problems(answer, nodes_reached=len(client.get_nodes())):
                _logger.warning(
                    "aerospike namespace makes a poor cache",
                    extra={"aerospike_namespace": self._settings.namespace, "cause": problem},
                )


def connect(settings: AerospikeSettings) -> Client:
    """A client that is connected, and keeps itself so from now on.

    Raises:
        aerospike.exception.AerospikeError: no host answered in time.
    """
    limits = {
        "total_timeout": settings.timeout_ms,
        "socket_timeout": settings.timeout_ms,
        # A put that is repeated could bring back a value that was replaced meanwhile.
        "max_retries": 0,
    }
    # While partitions move, a node that has an older value asks the others first.
    newest = {"read_mode_ap": aerospike.POLICY_READ_MODE_AP_ALL}
    client = aerospike.client(
        {
            "hosts": settings.addresses(),
            "connect_timeout": settings.timeout_ms,
            # Otherwise it fails if only one of several hosts answers.
            "fail_if_not_connected": False,
            "validate_keys": True,
            "policies": {
                "login_timeout_ms": settings.timeout_ms,
                **dict.fromkeys(_POLICY_KINDS, limits),
                "read": {**limits, **newest},
                "batch": {**limits, **newest},
            },
        }
    ).connect()
    if not client.is_connected():
        client.close()
        raise aerospike_errors.ClusterError("no host answered")
    return client


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS_PER_BATCH):
        yield keys[start : start + _KEYS_PER_BATCH]


def _portions(values: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    portion: dict[str, bytes] = {}
    size = 0
    for key, value in values.items():
        if portion and (len(portion) == _KEYS_PER_BATCH or size + len(value) > _BYTES_PER_BATCH):
            yield portion
            portion, size = {}, 0
        portion[key] = value
        size += len(value)
    if portion:
        yield portion


def _records(answers: BatchRecords, count: int) -> Sequence[BatchRecord]:
    """The records of a batch that was carried out, each with a result of its own.

    The client raises nothing for a batch that did not reach the cluster: it says so in `result`,
    and answers fewer records or, of writes, untouched ones that look stored.
    """
    _expect(answers.result, _OK, _SOME_FAILED)
    if len(answers.batch_records) != count:
        raise CacheUnavailableError("aerospike cache failed: answers are missing")
    records: Sequence[BatchRecord] = answers.batch_records
    return records


def _expect(result: int, *expected: int) -> None:
    if result not in expected:
        name = _RESULT_NAMES.get(result, f"result {result}")
        raise CacheUnavailableError(f"aerospike cache failed: {name}")
