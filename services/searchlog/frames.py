"""Records of the spool on disk: length, checksum, payload.

    uint32 length | uint32 CRC-32 of the payload | payload        (little-endian)

A length of 0 is no record, so a tail that the file system left as zeros reads as torn.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["MAX_PAYLOAD_BYTES", "MAX_RECORD_BYTES", "Scan", "frame", "scan"]

_HEADER: Final = struct.Struct("<II")
MAX_PAYLOAD_BYTES: Final = 4 * 1024 * 1024
MAX_RECORD_BYTES: Final = _HEADER.size + MAX_PAYLOAD_BYTES


class Scan(NamedTuple):
    """The records at the start of some bytes."""

    payloads: Sequence[bytes]
    good_bytes: int
    """Length of the whole records."""
    damaged: bool
    """What follows is no record, whatever bytes may follow; else it is the start of one."""


def frame(payload: bytes) -> bytes:
    """A record.

    Raises:
        ValueError: the payload is empty or longer than `MAX_PAYLOAD_BYTES`.
    """
    if not 0 < len(payload) <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"a spool record holds 1 to {MAX_PAYLOAD_BYTES} bytes, not {len(payload)}")
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def scan(data: bytes) -> Scan:
    """Read whole records from the start until the bytes end or make no sense."""
    payloads: list[bytes] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, at)
        if not 0 < length <= MAX_PAYLOAD_BYTES:
            return Scan(payloads, at, damaged=True)
        end = at + _HEADER.size + length
        if end > len(data):
            break
        payload = data[at + _HEADER.size : end]
        if zlib.crc32(payload) != checksum:
            return Scan(payloads, at, damaged=True)
        payloads.append(payload)
        at = end
    return Scan(payloads, at, damaged=False)
