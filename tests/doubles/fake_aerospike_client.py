"""As much of the Aerospike client as `AerospikeCache` uses, over a dict.

It checks what the adapter asks for (names, limits, order of operations), not the wire: for
that the contract suite takes a real server (`LAYER_TEST_AEROSPIKE`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import aerospike
from aerospike import exception as aerospike_errors

from services.cache.aerospike_cache import AerospikeSettings

__all__ = ["FakeAerospikeClient"]

Key = tuple[str, str, str]

_RECORD_BYTES = 1024 * 1024


class _Answer(NamedTuple):
    result: int
    record: Any = None


class _Answers(NamedTuple):
    batch_records: list[_Answer]


class FakeAerospikeClient:
    """Set `down` to have every call fail as a lost cluster does."""

    def __init__(self) -> None:
        self.down = False
        self.records: dict[Key, dict[str, Any]] = {}
        self.ttls: dict[Key, int] = {}

    def connect(self, _: AerospikeSettings) -> aerospike.Client:
        """What `AerospikeCache` takes as its connector."""
        return cast("aerospike.Client", self)

    def batch_read(self, keys: list[Key], bins: list[str]) -> _Answers:
        self._check()
        return _Answers([self._read(key, bins) for key in keys])

    def batch_write(self, batch: Any) -> _Answers:
        self._check()
        return _Answers([self._write(write) for write in batch.batch_records])

    def batch_remove(self, keys: list[Key]) -> _Answers:
        self._check()
        return _Answers([_Answer(2 if self.records.pop(key, None) is None else 0) for key in keys])

    def get(self, key: Key) -> tuple[Key, dict[str, int], dict[str, Any]]:
        self._check()
        if key not in self.records:
            raise aerospike_errors.RecordNotFound
        return key, {}, self.records[key]

    def operate(self, key: Key, ops: list[dict[str, Any]], policy: dict[str, int]) -> None:
        self._check()
        changed = {name: dict(value) for name, value in self.records.get(key, {}).items()}
        for op in ops:
            if op["op"] != aerospike.OP_MAP_PUT and op["bin"] not in changed:
                raise aerospike_errors.RecordNotFound
            self._operate_on_map(changed.setdefault(op["bin"], {}), op)
        if sum(len(value) for bin_ in changed.values() for _, value in bin_.values()) > (
            _RECORD_BYTES
        ):
            raise aerospike_errors.RecordTooBig
        self._store(key, changed, policy["ttl"])

    def close(self) -> None:
        self.down = True

    def _operate_on_map(self, members: dict[str, Any], op: dict[str, Any]) -> None:
        if op["op"] == aerospike.OP_MAP_PUT:
            members[op["key"]] = op["val"]
        elif op["op"] == aerospike.OP_MAP_REMOVE_BY_KEY:
            members.pop(op["key"], None)
        else:
            assert op["op"] == aerospike.OP_MAP_REMOVE_BY_VALUE_RANGE
            for name in [n for n, value in members.items() if op["val"] <= value < op["range"]]:
                del members[name]

    def _read(self, key: Key, bins: list[str]) -> _Answer:
        if key not in self.records:
            return _Answer(2)
        stored = self.records[key]
        return _Answer(0, (key, {}, {name: stored[name] for name in bins}))

    def _write(self, write: Any) -> _Answer:
        (op,) = write.ops
        assert write.policy["exists"] == aerospike.POLICY_EXISTS_CREATE_OR_REPLACE
        if len(op["val"]) > _RECORD_BYTES:
            return _Answer(13)
        self._store(write.key, {op["bin"]: op["val"]}, write.policy["ttl"])
        return _Answer(0)

    def _store(self, key: Key, bins: dict[str, Any], ttl: int) -> None:
        assert all(len(name) <= 15 for name in bins)
        assert ttl > 0
        self.records[key] = bins
        self.ttls[key] = ttl

    def _check(self) -> None:
        if self.down:
            raise aerospike_errors.ClusterError
