"""As much of the Aerospike client as `AerospikeCache` uses, over a dict.

It checks what the adapter asks for (names, limits, order of operations), and answers and fails
as the client does against a real server (8.1); the wire is for the contract suite with a real
one (`LAYER_TEST_AEROSPIKE`).
"""

from __future__ import annotations

from typing import Any, cast

import aerospike
from aerospike import exception as aerospike_errors
from aerospike_helpers.batch.records import BatchRecord, BatchRecords

from services.cache.aerospike_cache import AerospikeSettings

__all__ = ["FakeAerospikeClient"]

Key = tuple[str, str, str]

_RECORD_BYTES = 1024 * 1024 - 96
"""What a record of 1 MiB has room for, roughly: its head takes the rest."""
_OK, _SERVER_ERROR, _NOT_FOUND, _TOO_BIG, _SOME_FAILED = 0, 1, 2, 13, -16
_ERRORS = {8: aerospike_errors.ServerFull, 22: aerospike_errors.ForbiddenError}


class FakeAerospikeClient:
    """Fails as told.

    Attributes:
        down: as when the last node is lost: single records raise, batches only say so.
        refusal: result of all writes, such as 8 (the namespace is full) or 22 (records may not
            expire); reads and removes go on.
        about: what the server tells of the namespace, as in an info answer.
    """

    def __init__(self) -> None:
        self.down = False
        self.refusal = _OK
        self.about = "nsup-period=10;storage-engine=memory;storage-engine.evict-used-pct=60"
        self.records: dict[Key, dict[str, Any]] = {}
        self.ttls: dict[Key, int] = {}
        self.batches: list[int] = []
        """The keys of each batch of writes."""

    def connect(self, _: AerospikeSettings) -> aerospike.Client:
        """What `AerospikeCache` takes as its connector."""
        return cast("aerospike.Client", self)

    def info_random_node(self, command: str, policy: dict[str, int]) -> str:
        assert policy["timeout"] > 0
        self._check()
        return f"{command}\t{self.about}\n"

    def get_nodes(self) -> list[tuple[str, int]]:
        return [] if self.down else [("127.0.0.1", 3000)]

    def batch_read(self, keys: list[Key], bins: list[str]) -> BatchRecords:
        return self._batch([self._read(key, bins) for key in keys])

    def batch_write(self, batch: BatchRecords) -> BatchRecords:
        """The very records that it was given, with their results."""
        if self.down:
            batch.result = _SERVER_ERROR
            return batch
        self.batches.append(len(batch.batch_records))
        for write in batch.batch_records:
            write.result = self._write(write)
        batch.result = _result_of_all(batch)
        return batch

    def batch_remove(self, keys: list[Key]) -> BatchRecords:
        answers = [BatchRecord(key) for key in keys]
        for answer in answers:
            known = not self.down and self.records.pop(answer.key, None) is not None
            answer.result = _OK if known else _NOT_FOUND
        return self._batch(answers)

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
        if self.refusal:
            raise _ERRORS[self.refusal]
        sizes = [
            len(name) + len(value)
            for members in changed.values()
            for name, (_, value) in members.items()
        ]
        if sum(sizes) > _RECORD_BYTES:
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

    def _read(self, key: Key, bins: list[str]) -> BatchRecord:
        answer = BatchRecord(key)
        if key in self.records:
            stored = self.records[key]
            answer.record = (key, {}, {name: stored[name] for name in bins})
        else:
            answer.result = _NOT_FOUND
        return answer

    def _write(self, write: Any) -> int:
        (op,) = write.ops
        assert write.policy["exists"] == aerospike.POLICY_EXISTS_CREATE_OR_REPLACE
        if self.refusal:
            return self.refusal
        if len(op["val"]) > _RECORD_BYTES:
            return _TOO_BIG
        self._store(write.key, {op["bin"]: op["val"]}, write.policy["ttl"])
        return _OK

    def _batch(self, answers: list[BatchRecord]) -> BatchRecords:
        batch = BatchRecords([] if self.down else answers)
        batch.result = _SERVER_ERROR if self.down else _result_of_all(batch)
        return batch

    def _store(self, key: Key, bins: dict[str, Any], ttl: int) -> None:
        assert all(len(name) <= 15 for name in bins)
        assert 0 <= ttl <= 10 * 365 * 86_400 or ttl == aerospike.TTL_DONT_UPDATE
        self.records[key] = bins
        if ttl != aerospike.TTL_DONT_UPDATE:
            self.ttls[key] = ttl

    def _check(self) -> None:
        if self.down:
            raise aerospike_errors.ClusterError


def _result_of_all(batch: BatchRecords) -> int:
    """An absent record is no failure of a batch."""
    results = {answer.result for answer in batch.batch_records}
    return _SOME_FAILED if results - {_OK, _NOT_FOUND} else _OK
