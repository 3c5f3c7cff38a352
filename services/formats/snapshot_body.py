"""The snapshot body: facet histograms of a namespace at one watermark, content-addressed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

__all__ = [
    "FIELD_CAP",
    "FieldHistogram",
    "SkippedField",
    "SnapshotBody",
    "ValueCount",
    "build_body",
    "decode_body",
    "encode_body",
]

FIELD_CAP: Final = 10_000
"""Distinct values that a histogram may have; a field with more is skipped as a whole."""


class ValueCount(msgspec.Struct, frozen=True):
    """A value and the number of documents that have it."""

    v: str
    n: int


class FieldHistogram(msgspec.Struct, frozen=True):
    """All values of one field, in code point order."""

    name: str
    values: tuple[ValueCount, ...]


class SkippedField(msgspec.Struct, frozen=True):
    """A field with more distinct values than the cap; `distinct_observed` is exact."""

    name: str
    distinct_observed: int
    reason: Literal["exceeded_cap"] = "exceeded_cap"
    cap: int = FIELD_CAP


class SnapshotBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored. `watermark_ms` is epoch milliseconds, `sha` 64 hex digits."""

    namespace: str
    watermark_ms: int
    sha: str
    row_count: int | None = None
    fields: tuple[FieldHistogram, ...]
    fields_skipped: tuple[SkippedField, ...]

    def field_names(self) -> frozenset[str]:
        """The fields that the body answers for: counted or skipped."""
        return frozenset(f.name for f in self.fields) | frozenset(
            f.name for f in self.fields_skipped
        )


def build_body(
    namespace: str,
    watermark_ms: int,
    row_count: int,
    counts: Mapping[str, Mapping[str, int]],
    distinct_over_cap: Mapping[str, int],
) -> SnapshotBody:
    """Order the counts and address them by content.

    Args:
        namespace: the counted namespace.
        watermark_ms: every write before it is counted.
        row_count: documents counted.
        counts: complete histograms, by field.
        distinct_over_cap: exact number of distinct values of the fields over the cap.
    """
    fields = tuple(
        FieldHistogram(name, tuple(ValueCount(v, n) for v, n in sorted(counts[name].items())))
        for name in sorted(counts)
    )
    skipped = tuple(
        SkippedField(name, distinct_over_cap[name]) for name in sorted(distinct_over_cap)
    )
    return SnapshotBody(
        namespace=namespace,
        watermark_ms=watermark_ms,
        sha=_sha(row_count, fields, skipped),
        row_count=row_count,
        fields=fields,
        fields_skipped=skipped,
    )


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SnapshotBody)


def encode_body(body: SnapshotBody) -> bytes:
    """The stored form: JSON, UTF-8."""
    return _encoder.encode(body)


def decode_body(data: bytes) -> SnapshotBody:
    """Read a stored body.

    Raises:
        ValueError: it is not a body, or its content does not have its sha.
    """
    try:
        body = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError("not a snapshot body") from error
    if _sha(body.row_count, body.fields, body.fields_skipped) != body.sha:
        raise ValueError("the body's content does not have its sha")
    return body


def _sha(
    row_count: int | None, fields: Sequence[FieldHistogram], skipped: Sequence[SkippedField]
) -> str:
    """SHA-256 of the canonical JSON of what was counted: keys sorted, no white space, UTF-8
    unescaped. Namespace and watermark are left out, so that equal content has an equal sha."""
    content: dict[str, object] = {"fields": fields, "fields_skipped": skipped}
    if row_count is not None:
        content["row_count"] = row_count
    canonical = msgspec.json.encode(content, order="sorted")
    return hashlib.sha256(canonical).hexdigest()
