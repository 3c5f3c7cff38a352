"""What DocumentService takes from the environment."""

from __future__ import annotations

from pydantic import Field

from services.edge.settings import Port
from services.wiring.stores import StoreSettings

__all__ = ["DocumentSettings"]


class DocumentSettings(StoreSettings):
    """DocumentService's settings."""

    document_port: Port = Field(8084, description="Port of DocumentService.")
    searchlog_address: str = Field("127.0.0.1:8083", description="SearchLogService, `host:port`.")
    schema_ttl_seconds: float = Field(
        60.0, gt=0, description="How long a namespace's schema is believed."
    )
    document_ttl_seconds: float = Field(
        300.0,
        gt=0,
        le=3600,
        description="How long a document is served from the cache after it was read; writes "
        "through the gateway are seen at once.",
    )
    document_write_seconds: float = Field(
        60.0,
        gt=0,
        description="How long a write whose end the gateway did not report keeps its namespace "
        "out of the cache.",
    )
    warm_documents_per_second: float = Field(
        20_000.0,
        gt=0,
        description="Rate at which a warm job reads documents, at most. Times "
        "`LAYER_DOCUMENT_TTL_SECONDS` it is the largest namespace that can be warm.",
    )
    watermark_margin_ms: int = Field(
        500, ge=0, description="Safety margin between a poll and its watermark."
    )
