"""Policies set through the API, kept in the object store. They win over `Index` resources."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from services.core.ids import Namespace, parse_namespace
from services.formats.snapshot_keys import policy_key, policy_prefix
from services.indexes.policy import CatalogView, PolicyProblem, SnapshotPolicy
from services.storage.object_store import ObjectStore

__all__ = ["StoredPolicies"]

_PAGE: Final = 1000
_PARALLEL_GETS: Final = 8


class _StoredPolicy(msgspec.Struct, rename="camel"):
    """The stored form: durations in milliseconds, None for the defaults."""

    facet_fields: list[str]
    interval_ms: int | None = None
    retention_ms: int | None = None


class StoredPolicies:
    """An `IndexCatalog` that can also be written to.

    The methods raise `StoreUnavailableError`.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, policy: SnapshotPolicy) -> None:
        """Replace the namespace's policy."""
        stored = _StoredPolicy(list(policy.facet_fields), policy.interval_ms, policy.retention_ms)
        await self._store.put(policy_key(policy.namespace), msgspec.json.encode(stored))

    async def get(self, namespace: Namespace) -> SnapshotPolicy | None:
        """The namespace's policy, None when the API never set one."""
        data = await self._store.get(policy_key(namespace))
        return None if data is None else _decode(namespace, data)

    async def load(self) -> CatalogView:
        policies: dict[Namespace, SnapshotPolicy] = {}
        problems: list[PolicyProblem] = []
        gate = asyncio.Semaphore(_PARALLEL_GETS)

        async def read(key: str) -> None:
            async with gate:
                data = await self._store.get(key)
            if data is None:
                return
            try:
                namespace = parse_namespace(key.removeprefix(policy_prefix()).removesuffix(".json"))
                policies[namespace] = _decode(namespace, data)
            except Exception as error:  # noqa: BLE001 - any bad object is reported, none stops the rest
                problems.append(PolicyProblem(key, str(error)))

        start_after = ""
        while True:
            keys = await self._store.list(policy_prefix(), start_after=start_after, limit=_PAGE)
            await asyncio.gather(*(read(key) for key in keys))
            if len(keys) < _PAGE:
                return CatalogView(policies, problems)
            start_after = keys[-1]


def _decode(namespace: Namespace, data: bytes) -> SnapshotPolicy:
    stored = msgspec.json.decode(data, type=_StoredPolicy)
    return SnapshotPolicy(
        namespace, tuple(stored.facet_fields), stored.interval_ms, stored.retention_ms
    )
