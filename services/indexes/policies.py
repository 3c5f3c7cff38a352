"""The policies in force: all sources merged, re-read periodically, the last good view kept."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.indexes.policy import (
    DEFAULT_SCAN_THREADS,
    CatalogView,
    IndexCatalog,
    SnapshotPolicy,
)
from services.indexes.stored_policies import StoredPolicies

__all__ = ["Policies"]

_logger = logging.getLogger(__name__)


class Policies:
    """Resources first, then what the API has set, which wins.

    Args:
        catalogs: sources of `Index` resources; of two that name a namespace, the later wins.
        stored: what `PUT /snapshot-policy` has kept.
        refresh_seconds: how often the sources are read.
    """

    def __init__(
        self,
        catalogs: Sequence[IndexCatalog],
        stored: StoredPolicies,
        clock: Clock,
        *,
        refresh_seconds: float,
    ) -> None:
        self._sources: Sequence[IndexCatalog] = (*catalogs, stored)
        self._stored = stored
        self._clock = clock
        self._refresh_seconds = refresh_seconds
        self._views: dict[int, CatalogView] = {}

    def current(self) -> Mapping[Namespace, SnapshotPolicy]:
        """The policies in force by namespace."""
        merged: dict[Namespace, SnapshotPolicy] = {}
        for position in sorted(self._views):
            for namespace, policy in self._views[position].policies.items():
                is_stored = position == len(self._sources) - 1
                merged[namespace] = _over(policy, merged.get(namespace)) if is_stored else policy
        return merged

    def scan_threads(self, namespace: Namespace) -> int:
        """How many queries a scan of the namespace may have in flight."""
        policy = self.current().get(namespace)
        return DEFAULT_SCAN_THREADS if policy is None else policy.scan_threads

    async def get(self, namespace: Namespace) -> SnapshotPolicy | None:
        """One namespace's policy, as of now for what the API has set."""
        own = await self._stored.get(namespace)
        known = self.current().get(namespace)
        return known if own is None else _over(own, known)

    async def put(self, policy: SnapshotPolicy) -> None:
        """Keep a policy from the API; in force here at once, elsewhere by the next refresh."""
        await self._stored.put(policy)
        await self._load(len(self._sources) - 1)

    async def refresh(self) -> None:
        """Read every source once; one that fails keeps its last view."""
        for position in range(len(self._sources)):
            try:
                await self._load(position)
            except LayerError as error:
                _logger.warning("policies not refreshed", extra={"cause": error.message})

    async def run(self) -> None:
        """Refresh for as long as the task runs."""
        while True:
            await self.refresh()
            await self._clock.sleep(self._refresh_seconds)

    async def _load(self, position: int) -> None:
        self._views[position] = await self._sources[position].load()


def _over(own: SnapshotPolicy, resource: SnapshotPolicy | None) -> SnapshotPolicy:
    """The API's policy over a resource's: it does not set scan threads, so those stay."""
    return replace(own, scan_threads=resource.scan_threads) if resource else own
