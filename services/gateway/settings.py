"""What the gateway takes from the environment."""

from __future__ import annotations

import certifi
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.edge.settings import Port

__all__ = ["GatewaySettings"]


class GatewaySettings(BaseSettings):
    """Addresses and limits of Envoy."""

    model_config = SettingsConfigDict(env_prefix="LAYER_", frozen=True, extra="ignore")

    gateway_host: str = Field("127.0.0.1", description="Address that Envoy listens on.")
    port: Port = Field(8080, description="Port that Envoy listens on.")
    envoy_admin_host: str = Field("127.0.0.1", description="Address of Envoy's admin page.")
    envoy_admin_port: Port = Field(8090, description="Port of Envoy's admin page.")
    envoy_concurrency: int = Field(1, ge=1, le=256, description="Envoy's worker threads.")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port for Envoy's Prometheus metrics, `/metrics`; 0: none."
    )
    snapshot_address: str = Field(
        "127.0.0.1:8081",
        description="SnapshotService: `host:port`; several with commas.",
    )
    history_address: str = Field(
        "127.0.0.1:8082",
        description="HistoryService: `host:port`; several with commas.",
    )
    searchlog_address: str = Field(
        "127.0.0.1:8083",
        description="SearchLogService, `host:port`.",
    )
    document_address: str = Field(
        "127.0.0.1:8084",
        description="DocumentService: `host:port`; several with commas.",
    )
    upstream_ca: str = Field(
        certifi.where(), description="CA certificates that Turbopuffer's must be signed by."
    )
    max_body_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024 * 1024,
        description="Largest body of our own JSON routes, either way; larger requests are 413.",
    )
    otlp_endpoint: str | None = Field(
        None, description="OTLP/gRPC collector for traces, such as `http://127.0.0.1:4317`."
    )
    trace_sampling_percent: float = Field(
        100.0, ge=0, le=100, description="Share of requests whose spans are exported."
    )
    gateway_api_key: SecretStr | None = Field(None, description="See the servers' settings.")
    turbopuffer_base_url: str = Field(
        "https://gcp-us-central1.turbopuffer.com",
        validation_alias="TURBOPUFFER_BASE_URL",
        description="Turbopuffer's address for the region.",
    )
    turbopuffer_api_key: SecretStr = Field(
        validation_alias="TURBOPUFFER_API_KEY", description="The gateway's own key upstream."
    )
