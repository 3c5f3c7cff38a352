"""The automatic writer: a snapshot whenever a namespace was written and is stable again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.core.clock import Clock
from services.core.ids import Namespace
from services.core.timestamps import milliseconds_of
from services.formats.snapshot_body import SnapshotBody
from services.indexes.policy import SnapshotPolicy
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_request import CountRequest
from services.snapshot.retention import Retention
from services.snapshot.watermarks import Poll, Watermarks
from services.upstream.vector_store import NamespaceMetadata

__all__ = ["AutomaticWriter"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _State:
    """What a namespace looked like when its newest automatic snapshot was taken."""

    written_at: str
    fields: tuple[str, ...]


class AutomaticWriter:
    """Decides, at each poll of a namespace, whether to count it.

    It fires on an *advance*: the upstream's time of the last write has changed since the last
    snapshot, and the watermark has passed it. That time is compared with itself, so the two
    clocks need not agree; only the first poll after a start compares it with a body's watermark.
    """

    def __init__(
        self,
        *,
        watermarks: Watermarks,
        origin: OriginCount,
        reader: SnapshotReader,
        writer: SnapshotWriter,
        retention: Retention,
        clock: Clock,
        min_interval_ms: int,
    ) -> None:
        self._watermarks = watermarks
        self._origin = origin
        self._reader = reader
        self._writer = writer
        self._retention = retention
        self._clock = clock
        self._min_interval_ms = min_interval_ms
        self._done: dict[Namespace, _State] = {}

    async def step(self, policy: SnapshotPolicy) -> bool:
        """Poll once and take a snapshot if one is due. Whether something is still to come soon:
        the index is updating, or a write is younger than the watermark or the interval.

        Raises:
            NamespaceNotFoundError: the namespace is gone; nothing of it is remembered.
            UpstreamRejectedError, UpstreamUnavailableError, StoreUnavailableError.
        """
        poll = await self._watermarks.poll(policy.namespace)
        state = _State(poll.metadata.written_at, policy.facet_fields)
        if self._done.get(policy.namespace) == state:
            return False
        if poll.metadata.is_updating or poll.watermark_ms is None:
            return True
        previous = await self._reader.newest_body_with(
            policy.namespace, frozenset(policy.facet_fields)
        )
        if policy.namespace not in self._done and _covers(previous, poll.metadata):
            self._done[policy.namespace] = state
            return False
        if poll.watermark_ms < milliseconds_of(poll.metadata.written_at):
            return True
        if self._too_soon(policy, previous):
            return True
        await self._write(policy, poll, previous)
        self._done[policy.namespace] = state
        return False

    async def prune(self, policy: SnapshotPolicy) -> None:
        """Apply the policy's retention.

        Raises:
            StoreUnavailableError.
        """
        if policy.retention_ms is not None:
            await self._retention.prune(policy.namespace, policy.retention_ms)

    def forget(self, namespace: Namespace) -> None:
        """The namespace is no longer watched."""
        self._done.pop(namespace, None)

    def _too_soon(self, policy: SnapshotPolicy, previous: SnapshotBody | None) -> bool:
        if previous is None:
            return False
        interval_ms = policy.interval_ms
        if interval_ms is None:
            interval_ms = self._min_interval_ms
        return self._clock.now_ns() // 1_000_000 - previous.watermark_ms < interval_ms

    async def _write(
        self, policy: SnapshotPolicy, poll: Poll, previous: SnapshotBody | None
    ) -> None:
        assert poll.watermark_ms is not None
        present = _present(poll.metadata, policy.facet_fields)
        counts = await self._origin.count(
            CountRequest(
                policy.namespace,
                tuple(present),
                poll.metadata,
                scan_threads=policy.scan_threads,
            )
        )
        # A field that no document has yet is complete: it has no values.
        absent: dict[str, dict[str, int]] = {
            name: {} for name in policy.facet_fields if name not in present
        }
        body = counts.with_fields(absent).body(policy.namespace, poll.watermark_ms)
        newest = await self._reader.newest(policy.namespace)
        if newest is not None and newest.sha == body.sha:
            return
        await self._writer.write(body)
        _logger.info(
            "snapshot taken",
            extra={"namespace": policy.namespace, "sha": body.sha, "rows": body.row_count},
        )


def _present(metadata: NamespaceMetadata, fields: Sequence[str]) -> list[str]:
    """The fields that the namespace has: the upstream refuses queries that name others."""
    return [name for name in fields if metadata.attribute_type(name) is not None]


def _covers(previous: SnapshotBody | None, metadata: NamespaceMetadata) -> bool:
    """Whether a body is at least as new as the last write, by comparing two clocks: ours, less
    the watermark's margin, and the upstream's."""
    return previous is not None and previous.watermark_ms >= milliseconds_of(metadata.written_at)
