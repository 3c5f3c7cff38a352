"""`layer plan`: what SnapshotService would do now, without doing any of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.core.errors import LayerError
from services.core.ids import Namespace
from services.indexes.policy import SnapshotPolicy
from services.snapshot.retention import Retention
from services.snapshot.write_automatically import AutomaticWriter

__all__ = ["NamespacePlan", "plan_namespace"]


@dataclass(frozen=True)
class NamespacePlan:
    """A dry run of one policy."""

    namespace: Namespace
    facet_fields: Sequence[str]
    snapshot: str
    """Whether a snapshot would be taken, or why not."""
    expired: int
    """Snapshots that retention would prune."""


async def plan_namespace(
    policy: SnapshotPolicy, automatic: AutomaticWriter, retention: Retention
) -> NamespacePlan:
    """Decide for a policy as the service would; an upstream that fails is part of the answer.

    Raises:
        StoreUnavailableError.
    """
    snapshot = "the automatic writer is off"
    if policy.facet_fields:
        try:
            snapshot = (await automatic.decide(policy)).verdict.value
        except LayerError as error:
            snapshot = error.message
    expired = 0
    if policy.retention_ms is not None:
        expired = len(await retention.expired(policy.namespace, policy.retention_ms))
    return NamespacePlan(policy.namespace, policy.facet_fields, snapshot, expired)
