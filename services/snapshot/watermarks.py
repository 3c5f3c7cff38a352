"""Watermarks: the time before which every write is in what a namespace answers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.upstream.vector_store import NamespaceMetadata, VectorStore, decode_metadata

__all__ = ["Poll", "Watermarks"]

_KNOWN: Final = 10_000
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Poll:
    """A namespace's metadata, and the newest watermark known after reading it."""

    metadata: NamespaceMetadata
    watermark_ms: int | None


class Watermarks:
    """Polls metadata. When the index is up to date, the watermark is the poll's start minus a
    margin, so that a write that the upstream had not yet shown is not claimed.

    Args:
        margin_ms: that margin.
        wait_seconds: how long `fresh` waits for an index that is updating.
    """

    def __init__(
        self, upstream: VectorStore, clock: Clock, *, margin_ms: int, wait_seconds: float
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._margin_ms = margin_ms
        self._wait_seconds = wait_seconds
        self._known: OrderedDict[Namespace, int] = OrderedDict()

    async def poll(self, namespace: Namespace) -> Poll:
        """Read the metadata once.

        Raises:
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError: as the port's.
        """
        started_ms = self._clock.now_ns() // 1_000_000
        metadata = decode_metadata(await self._upstream.metadata(namespace))
        if not metadata.is_updating:
            self._learn(namespace, started_ms - self._margin_ms)
        return Poll(metadata, self._known.get(namespace))

    async def fresh(self, namespace: Namespace) -> tuple[NamespaceMetadata, int]:
        """The metadata and a watermark: of now if the index is up to date, else the last known,
        else the first within `wait_seconds`.

        Raises:
            LayerError: UNAVAILABLE, no watermark in that time; and as `poll`.
        """
        deadline = self._clock.monotonic() + self._wait_seconds
        while True:
            poll = await self.poll(namespace)
            if poll.watermark_ms is not None:
                return poll.metadata, poll.watermark_ms
            if self._clock.monotonic() >= deadline:
                raise LayerError(
                    ErrorKind.UNAVAILABLE,
                    f"the index of {namespace!r} has been updating for {self._wait_seconds:.0f} s "
                    "and no earlier watermark is known; try again when it is up to date",
                )
            await self._clock.sleep(_RETRY_SECONDS)

    def _learn(self, namespace: Namespace, watermark_ms: int) -> None:
        """Keep the newest; a clock that stepped back does not take a watermark back."""
        self._known[namespace] = max(watermark_ms, self._known.get(namespace, 0))
        self._known.move_to_end(namespace)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
