"""What a record of the spool holds: the stream, the time and the line of an entry.

uint8 kind | int64 timestamp_nanos | uint8 length of the namespace | namespace | line
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from services.core.errors import LayerError
from services.core.ids import parse_namespace
from services.formats.trail_keys import TrailKind
from services.searchlog.model import Stream

__all__ = ["SpoolRecord", "decode_record", "encode_record"]

_HEADER: Final = struct.Struct("<BqB")
_KIND_NUMBERS: Final = {TrailKind.SEARCHES: 1, TrailKind.CLICKS: 2}
_KINDS: Final = {number: kind for kind, number in _KIND_NUMBERS.items()}


class SpoolRecord(NamedTuple):
    """An entry on its way to the object store."""

    stream: Stream
    nanos: int
    line: bytes


def encode_record(record: SpoolRecord) -> bytes:
    """The payload of the record's frame."""
    name = record.stream.namespace.encode("ascii")
    header = _HEADER.pack(_KIND_NUMBERS[record.stream.kind], record.nanos, len(name))
    return header + name + record.line


def decode_record(payload: bytes) -> SpoolRecord | None:
    """The record; None for a payload that is none."""
    if len(payload) < _HEADER.size:
        return None
    number, nanos, length = _HEADER.unpack_from(payload)
    name = payload[_HEADER.size : _HEADER.size + length]
    kind = _KINDS.get(number)
    try:
        namespace = parse_namespace(name.decode("ascii"))
    except (LayerError, UnicodeDecodeError):
        return None
    if kind is None:
        return None
    return SpoolRecord(Stream(kind, namespace), nanos, payload[_HEADER.size + length :])
