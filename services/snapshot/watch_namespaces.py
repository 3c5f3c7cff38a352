"""The consistency watcher: one loop for each namespace that a policy names."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.indexes.policies import Policies
from services.snapshot.write_automatically import AutomaticWriter
from services.upstream.vector_store import NamespaceNotFoundError

__all__ = ["NamespaceWatcher", "PollIntervals"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PollIntervals:
    """How often metadata is polled, in seconds, before jitter."""

    updating_seconds: float = 1.0
    stable_seconds: float = 60.0
    longest_backoff_seconds: float = 300.0


class NamespaceWatcher:
    """Keeps a loop running for every policy with facet fields; policies come and go."""

    def __init__(
        self,
        *,
        policies: Policies,
        writer: AutomaticWriter,
        clock: Clock,
        random_source: random.Random,
        intervals: PollIntervals,
        reconcile_seconds: float,
    ) -> None:
        self._policies = policies
        self._writer = writer
        self._clock = clock
        self._random = random_source
        self._intervals = intervals
        self._reconcile_seconds = reconcile_seconds
        self._loops: dict[Namespace, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow the policies for as long as the task runs; its loops end with it, and have given
        their leases back."""
        try:
            while True:
                self._reconcile()
                await self._clock.sleep(self._reconcile_seconds)
        finally:
            for namespace in list(self._loops):
                self._end(namespace)
            await asyncio.gather(*self._ending, return_exceptions=True)

    def _reconcile(self) -> None:
        wanted = {
            namespace
            for namespace, policy in self._policies.current().items()
            if policy.facet_fields
        }
        for namespace in self._loops.keys() - wanted:
            self._end(namespace)
            self._writer.forget(namespace)
        for namespace in wanted - self._loops.keys():
            self._loops[namespace] = asyncio.create_task(self._watch(namespace))

    def _end(self, namespace: Namespace) -> None:
        loop = self._loops.pop(namespace)
        loop.cancel()
        self._ending.add(loop)
        loop.add_done_callback(self._ending.discard)

    async def _watch(self, namespace: Namespace) -> None:
        failures = 0
        while True:
            seconds = self._intervals.stable_seconds
            try:
                if await self._step(namespace):
                    seconds = self._intervals.updating_seconds
                failures = 0
            except NamespaceNotFoundError:
                # Deleted, or not written yet: neither is worth a warning.
                self._writer.forget(namespace)
            except LayerError as error:
                failures += 1
                self._writer.counts.failed += 1
                seconds = self._backoff(failures)
                _logger.warning(
                    "watching failed, backing off",
                    extra={"namespace": namespace, "cause": error.message, "seconds": seconds},
                )
            except Exception:
                failures += 1
                self._writer.counts.failed += 1
                seconds = self._backoff(failures)
                _logger.exception("watching failed", extra={"namespace": namespace})
            await self._clock.sleep(seconds * self._random.uniform(0.8, 1.2))

    async def _step(self, namespace: Namespace) -> bool:
        policy = self._policies.current().get(namespace)
        if policy is None:
            return False
        soon = await self._writer.step(policy)
        if not soon:
            await self._writer.prune(policy)
        return soon

    def _backoff(self, failures: int) -> float:
        seconds = self._intervals.updating_seconds * 2.0 ** min(failures, 16)
        return min(seconds, self._intervals.longest_backoff_seconds)
