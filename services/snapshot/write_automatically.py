"""The automatic writer: a snapshot whenever a namespace was written and is stable again."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.core.clock import Clock
from services.core.ids import Namespace
from services.core.timestamps import milliseconds_of
from services.formats.snapshot_body import SnapshotBody
from services.formats.snapshot_lease import ScanState
from services.indexes.policy import SnapshotPolicy
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_request import CountRequest
from services.snapshot.leases import HeldLease, Leases, LeaseView
from services.snapshot.retention import Retention
from services.snapshot.watermarks import Poll, Watermarks
from services.storage.object_store import StoreUnavailableError
from services.upstream.vector_store import NamespaceMetadata

__all__ = ["AutomaticCounts", "AutomaticWriter", "Decision", "Verdict"]

_logger = logging.getLogger(__name__)
_PRUNE_SECONDS: Final = 3600.0
_GIVE_BACK_SECONDS: Final = 5.0
"""Also how long a stop may take over it."""


class Verdict(enum.StrEnum):
    """What is to be done for a namespace, in words for its operator."""

    UNCHANGED = "nothing was written since the last snapshot"
    UPDATING = "the index is updating"
    UNSETTLED = "the last write is younger than the watermark"
    TOO_SOON = "the interval has not passed"
    CONTENDED = "other replicas are at it"
    DUE = "a snapshot is due"


_SOON: Final = frozenset({Verdict.UPDATING, Verdict.UNSETTLED, Verdict.TOO_SOON})


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on; the lease as it was read when a snapshot is due."""

    verdict: Verdict
    poll: Poll
    view: LeaseView | None = None


@dataclass
class AutomaticCounts:
    """What automatic snapshots came to, since the start."""

    polls: int = 0
    written: int = 0
    unchanged: int = 0
    """Counted, and equal to the newest body."""
    dropped: int = 0
    """Counted, and not kept: another replica had taken the lease."""
    failed: int = 0
    """Polls or counts that failed; they are tried again."""


class AutomaticWriter:
    """Decides, at each poll of a namespace, whether to count it.

    It fires on an *advance*: the upstream's time of the last write has changed since the last
    count, and the watermark has passed it. What was counted last is in memory and in the
    namespace's lease, where other replicas and the next start find it; the lease is read only
    when memory knows nothing or less. So an idle namespace costs its poll and nothing else.
    """

    def __init__(
        self,
        *,
        watermarks: Watermarks,
        origin: OriginCount,
        reader: SnapshotReader,
        writer: SnapshotWriter,
        leases: Leases,
        retention: Retention,
        clock: Clock,
        min_interval_ms: int,
    ) -> None:
        self._watermarks = watermarks
        self._origin = origin
        self._reader = reader
        self._writer = writer
        self._leases = leases
        self._retention = retention
        self._clock = clock
        self._min_interval_ms = min_interval_ms
        self.counts = AutomaticCounts()
        self._counted: dict[Namespace, ScanState] = {}
        self._pruned_at: dict[Namespace, float] = {}

    async def step(self, policy: SnapshotPolicy) -> bool:
        """Poll once and take a snapshot if one is due. Whether something is still to come soon:
        the index is updating, or a write is younger than the watermark or the interval.

        Raises:
            NamespaceNotFoundError: the namespace is gone.
            UpstreamRejectedError, UpstreamUnavailableError, StoreUnavailableError.
        """
        decision = await self.decide(policy)
        if decision.verdict is Verdict.DUE:
            assert decision.view is not None
            lease = await self._leases.take(decision.view)
            # Another replica counts: the next slow poll finds what it has left, or its lease
            # expired.
            if lease is not None:
                await self._count_under(lease, policy, decision.poll)
        return decision.verdict in _SOON

    async def decide(self, policy: SnapshotPolicy) -> Decision:
        """Poll once and say what is to be done, without doing it.

        Raises:
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError,
            StoreUnavailableError.
        """
        self.counts.polls += 1
        poll = await self._watermarks.poll(policy.namespace)
        if self._is_counted(policy, poll):
            return Decision(Verdict.UNCHANGED, poll)
        if poll.metadata.is_updating or poll.watermark_ms is None:
            return Decision(Verdict.UPDATING, poll)
        if poll.watermark_ms < milliseconds_of(poll.metadata.written_at):
            return Decision(Verdict.UNSETTLED, poll)
        if self._too_soon(policy):
            return Decision(Verdict.TOO_SOON, poll)
        view = await self._leases.read(policy.namespace)
        if view is None:
            return Decision(Verdict.CONTENDED, poll)
        if view.record.state is not None:
            self._counted[policy.namespace] = view.record.state
        if self._is_counted(policy, poll):
            return Decision(Verdict.UNCHANGED, poll)
        if self._too_soon(policy):
            return Decision(Verdict.TOO_SOON, poll)
        return Decision(Verdict.DUE, poll, view)

    async def prune(self, policy: SnapshotPolicy) -> None:
        """Apply the policy's retention, at most once a tenth of it or an hour.

        Raises:
            StoreUnavailableError.
        """
        if policy.retention_ms is None:
            return
        now = self._clock.monotonic()
        wait = min(policy.retention_ms / 10_000, _PRUNE_SECONDS)
        if now - self._pruned_at.get(policy.namespace, -wait) >= wait:
            await self._retention.prune(policy.namespace, policy.retention_ms)
            self._pruned_at[policy.namespace] = now

    def forget(self, namespace: Namespace) -> None:
        """The namespace is no longer watched."""
        self._counted.pop(namespace, None)
        self._pruned_at.pop(namespace, None)

    def _is_counted(self, policy: SnapshotPolicy, poll: Poll) -> bool:
        counted = self._counted.get(policy.namespace)
        return counted is not None and counted.covers(poll.metadata.written_at, policy.facet_fields)

    def _too_soon(self, policy: SnapshotPolicy) -> bool:
        counted = self._counted.get(policy.namespace)
        if counted is None:
            return False
        interval_ms = policy.interval_ms
        if interval_ms is None:
            interval_ms = self._min_interval_ms
        return self._clock.now_ns() // 1_000_000 - counted.watermark_ms < interval_ms

    async def _count_under(self, lease: HeldLease, policy: SnapshotPolicy, poll: Poll) -> None:
        """Count while the lease is kept, write if it still is, and give it back with the news."""
        assert poll.watermark_ms is not None
        counted = ScanState(poll.metadata.written_at, policy.facet_fields, poll.watermark_ms)
        news: ScanState | None = None
        try:
            async with lease.kept():
                body = await self._count(policy, poll, poll.watermark_ms)
            if await lease.confirm():
                await self._keep(body)
                news = self._counted[policy.namespace] = counted
            else:
                self.counts.dropped += 1
                _logger.warning(
                    "count dropped, another replica took the lease",
                    extra={"namespace": policy.namespace, "generation": lease.generation},
                )
        finally:
            await self._give_back(lease, policy.namespace, news)

    async def _give_back(
        self, lease: HeldLease, namespace: Namespace, news: ScanState | None
    ) -> None:
        """A lease that is not given back costs a wait, and its lost state one more scan after a
        restart; neither is worth failing for."""
        try:
            async with asyncio.timeout(_GIVE_BACK_SECONDS):
                await lease.give_back(news)
        except (StoreUnavailableError, TimeoutError) as error:
            _logger.warning(
                "lease not given back", extra={"namespace": namespace, "cause": str(error)}
            )

    async def _count(self, policy: SnapshotPolicy, poll: Poll, watermark_ms: int) -> SnapshotBody:
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
        return counts.with_fields(absent).body(policy.namespace, watermark_ms)

    async def _keep(self, body: SnapshotBody) -> None:
        newest = await self._reader.newest(Namespace(body.namespace))
        if newest is not None and newest.sha == body.sha:
            self.counts.unchanged += 1
            return
        await self._writer.write(body)
        self.counts.written += 1
        _logger.info(
            "snapshot taken",
            extra={"namespace": body.namespace, "sha": body.sha, "rows": body.row_count},
        )


def _present(metadata: NamespaceMetadata, fields: Sequence[str]) -> list[str]:
    """The fields that the namespace has: the upstream refuses queries that name others."""
    return [name for name in fields if metadata.attribute_type(name) is not None]
