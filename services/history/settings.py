"""What HistoryService takes from the environment."""

from __future__ import annotations

from pydantic import Field

from services.edge.settings import Port
from services.wiring.stores import StoreSettings

__all__ = ["HistorySettings"]


class HistorySettings(StoreSettings):
    """HistoryService's settings."""

    history_port: Port = Field(8082, description="Port of HistoryService.")
