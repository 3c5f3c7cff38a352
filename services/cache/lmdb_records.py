"""How the LMDB cache lays out its keys and records.

A record is a queue key (9 bytes), the length of a name (2 bytes), the name, and the value.

The *queue key* says when the record goes: `e` and the expiry, or `n` and the time of writing
for a value without one; nanoseconds since the epoch, big-endian, so that the queue's order
is time's. The queue is a second database that maps each queue key to its record's key.

Keys: `v` and the key itself, or `h` and a hash where LMDB's 511 bytes are too few, with the
key as the record's name to tell hashes apart; `m`, a hash of the group and one of the member,
with `group NUL member` as the name, so that a group is a prefix.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b

__all__ = [
    "Record",
    "group_prefix",
    "is_expired",
    "member_key",
    "member_name",
    "queue_key",
    "queue_key_of",
    "record",
    "value_key",
]

_MAX_KEY_BYTES = 511
_HASH_BYTES = 24
_HEAD = struct.Struct(">9sH")
_QUEUE_KEY = struct.Struct(">cQ")


@dataclass(frozen=True, slots=True)
class Record:
    """A record taken apart; the value is a view that ends with the transaction."""

    name: bytes
    value: memoryview

    @classmethod
    def parse(cls, stored: memoryview, now_ns: int) -> Record | None:
        """None when it has expired."""
        queued, name_bytes = _HEAD.unpack_from(stored)
        if is_expired(queued, now_ns):
            return None
        start = _HEAD.size + name_bytes
        return cls(bytes(stored[_HEAD.size : start]), stored[start:])


def record(queued: bytes, name: bytes, value: bytes) -> bytes:
    return _HEAD.pack(queued, len(name)) + name + value


def queue_key(now_ns: int, ttl_seconds: float | None) -> bytes:
    if ttl_seconds is None:
        return _QUEUE_KEY.pack(b"n", now_ns)
    return _QUEUE_KEY.pack(b"e", now_ns + int(ttl_seconds * 1e9))


def queue_key_of(stored: bytes | memoryview) -> bytes:
    return bytes(stored[: _QUEUE_KEY.size])


def is_expired(queued: bytes, now_ns: int) -> bool:
    kind, time_ns = _QUEUE_KEY.unpack(queued)
    return bool(kind == b"e" and time_ns <= now_ns)


def value_key(key: str) -> tuple[bytes, bytes]:
    """The database key of a value, and the name that its record must have."""
    encoded = key.encode()
    if len(encoded) < _MAX_KEY_BYTES:
        return b"v" + encoded, b""
    return b"h" + _hash(encoded), encoded


def group_prefix(group: str) -> tuple[bytes, bytes]:
    """The database key prefix of a group, and the start of its members' names."""
    encoded = group.encode()
    return b"m" + _hash(encoded), encoded + b"\0"


def member_key(group: str, member: str) -> bytes:
    return group_prefix(group)[0] + _hash(member.encode())


def member_name(group: str, member: str) -> bytes:
    return group_prefix(group)[1] + member.encode()


def _hash(text: bytes) -> bytes:
    return blake2b(text, digest_size=_HASH_BYTES).digest()
