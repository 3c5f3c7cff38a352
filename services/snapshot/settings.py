"""What SnapshotService takes from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from services.edge.settings import Port
from services.snapshot.count_origin import OriginStrategy
from services.snapshot.leases import LONGEST_TERM_SECONDS
from services.wiring.stores import StoreSettings

__all__ = ["SnapshotSettings"]


class SnapshotSettings(StoreSettings):
    """SnapshotService's settings."""

    snapshot_port: Port = Field(8081, description="Port of SnapshotService.")
    document_address: str = Field(
        "127.0.0.1:8084",
        description="DocumentService, `host:port`; the gateway's where it has replicas.",
    )
    index_folder: Path | None = Field(
        None, description="Folder of YAML files with `Index` resources."
    )
    kubernetes_indexes: Literal["off", "namespace", "cluster"] = Field(
        "off", description="Where `Index` custom resources are looked for."
    )
    kubernetes_namespace: str | None = Field(
        None, description="The Kubernetes namespace of `namespace`.", validate_default=True
    )
    kubernetes_config: Path | None = Field(
        None, description="A kubeconfig; unset: the service account of the pod."
    )
    policy_refresh_seconds: float = Field(
        10.0, gt=0, description="How often policies are read again."
    )
    snapshot_min_interval_ms: int = Field(
        300_000, ge=0, description="Least time between automatic snapshots without an `interval`."
    )
    watch_updating_seconds: float = Field(
        1.0, gt=0, description="Metadata poll interval while an index is updating."
    )
    watch_stable_seconds: float = Field(
        60.0, gt=0, description="Metadata poll interval while an index is up to date."
    )
    watermark_margin_ms: int = Field(
        500, ge=0, description="Safety margin between a poll and its watermark."
    )
    watermark_wait_seconds: float = Field(
        30.0, ge=0, description="How long a manual job waits for an index that is updating."
    )
    origin_strategy: OriginStrategy = Field(
        OriginStrategy.AUTO,
        description="How the upstream is counted: `aggregate` by its groups, `scan` by reading "
        "every row, `auto` by groups where that is certain.",
    )
    lease_seconds: float = Field(
        30.0,
        ge=3,
        le=LONGEST_TERM_SECONDS,
        description="Term of a namespace's lease; renewed every third of it.",
    )
    lease_skew_seconds: float = Field(
        5.0, ge=0, le=60, description="By how much the replicas' clocks may differ at most."
    )

    @field_validator("kubernetes_namespace")
    @classmethod
    def _names_a_namespace(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value and info.data.get("kubernetes_indexes") == "namespace":
            raise ValueError("needed with LAYER_KUBERNETES_INDEXES=namespace")
        return value
