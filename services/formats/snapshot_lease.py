"""One generation of a namespace's lease, as replicas leave it for each other in the store."""

from __future__ import annotations

import msgspec

__all__ = ["LeaseRecord", "ScanState", "decode_lease", "encode_lease"]


class ScanState(msgspec.Struct, frozen=True):
    """What a namespace looked like when it was last counted, whether or not the count differed
    from the newest body and was kept."""

    written_at: str
    """The upstream's time of the last write, as the upstream spells it: compared, never parsed."""
    facet_fields: tuple[str, ...]
    watermark_ms: int

    def covers(self, written_at: str, facet_fields: tuple[str, ...]) -> bool:
        """Whether counting those fields of that state again would find nothing new."""
        return (self.written_at, self.facet_fields) == (written_at, facet_fields)


class LeaseRecord(msgspec.Struct, frozen=True):
    """A generation of a lease. Immutable: a change is the next generation."""

    holder: str
    """Names one taking of the lease; no two are equal."""
    expires_at_ms: int
    """Epoch milliseconds by the holder's clock; 0: given back."""
    state: ScanState | None = None
    version: int = 1


_decoder = msgspec.json.Decoder(LeaseRecord)


def encode_lease(record: LeaseRecord) -> bytes:
    return msgspec.json.encode(record)


def decode_lease(data: bytes) -> LeaseRecord | None:
    """The record; None when it cannot be read."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        return None
