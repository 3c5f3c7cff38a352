"""Puts the catalog of `Index` custom resources together."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.core.clock import Clock
from services.core.tasks import running
from services.indexes.policy import IndexCatalog
from services.snapshot.settings import SnapshotSettings

__all__ = ["watch_kubernetes"]


@asynccontextmanager
async def watch_kubernetes(settings: SnapshotSettings, clock: Clock) -> AsyncIterator[IndexCatalog]:
    """A catalog that is kept current while the context is open.

    Raises:
        RuntimeError: there is no way to the Kubernetes API.
    """
    # Imported on use: it takes most of a second, and only clusters need it.
    from services.indexes.kubernetes_api import IndexApi
    from services.indexes.kubernetes_catalog import KubernetesIndexCatalog

    cluster_wide = settings.kubernetes_indexes == "cluster"
    namespace = None if cluster_wide else settings.kubernetes_namespace
    async with IndexApi.open(namespace=namespace, config=settings.kubernetes_config) as api:
        catalog = KubernetesIndexCatalog(api, clock, random.Random())  # noqa: S311 - jitter
        async with running(catalog.run()):
            yield catalog
