"""`GET /metadata`: the upstream's answer with a `layer` block added."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from services.archive.read_snapshots import SnapshotReader
from services.core.clock import Clock
from services.core.ids import Namespace
from services.upstream.vector_store import (
    ApiVersion,
    NamespaceMetadata,
    UpstreamUnavailableError,
    VectorStore,
    decode_metadata,
    is_vector,
)

__all__ = ["ReadMetadata"]

_KNOWN: Final = 10_000
"""Namespaces whose last watermark is remembered."""


class _Layer(msgspec.Struct):
    """What we add. `stable_as_of` is epoch milliseconds; nulls where nothing is known."""

    stable_as_of: int | None
    is_stable: bool
    indexed: bool | None
    index_lag_rows: int | None


class ReadMetadata:
    """One poll of the upstream, whose values pass through as the bytes that they are.

    Args:
        margin_ms: safety margin between a poll's start and its watermark.
    """

    def __init__(
        self, upstream: VectorStore, reader: SnapshotReader, clock: Clock, *, margin_ms: int
    ) -> None:
        self._upstream = upstream
        self._reader = reader
        self._clock = clock
        self._margin_ms = margin_ms
        self._stable_as_of: OrderedDict[Namespace, int] = OrderedDict()

    async def __call__(self, namespace: Namespace, version: ApiVersion = "v2") -> bytes:
        """The JSON object, with what is the upstream's as that version of its API has it.

        Raises:
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError,
            StoreUnavailableError.
        """
        started_ms = self._clock.now_ns() // 1_000_000
        data = await self._upstream.metadata(namespace, version)
        metadata = decode_metadata(data)
        layer = await self._layer(namespace, metadata, started_ms)
        try:
            members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        except msgspec.DecodeError as error:
            raise UpstreamUnavailableError("the upstream's metadata is no object") from error
        # `id` is what the published client's model requires and the upstream leaves out.
        members.setdefault("id", msgspec.Raw(msgspec.json.encode(namespace)))
        members["layer"] = msgspec.Raw(msgspec.json.encode(layer))
        return msgspec.json.encode(members)

    async def _layer(
        self, namespace: Namespace, metadata: NamespaceMetadata, started_ms: int
    ) -> _Layer:
        stable = not metadata.is_updating
        if stable:
            self._remember(namespace, started_ms - self._margin_ms)
        stable_as_of = self._stable_as_of.get(namespace)
        if not stable:
            # Another process, or an earlier life of this one, may have seen a later moment.
            newest = await self._reader.newest(namespace)
            if newest is not None:
                stable_as_of = max(newest.watermark_ms, stable_as_of or newest.watermark_ms)
        lag = None
        if any(is_vector(metadata.attribute_type(name) or "") for name in metadata.schema):
            body = await self._reader.newest_body(namespace)
            if body is not None and body.row_count is not None:
                lag = max(body.row_count - metadata.approx_row_count, 0)
        return _Layer(stable_as_of, stable, None if lag is None else lag == 0, lag)

    def _remember(self, namespace: Namespace, watermark_ms: int) -> None:
        """The last watermark of a stable index; it never goes back, even when a clock does."""
        known = self._stable_as_of.pop(namespace, watermark_ms)
        self._stable_as_of[namespace] = max(known, watermark_ms)
        if len(self._stable_as_of) > _KNOWN:
            self._stable_as_of.popitem(last=False)
