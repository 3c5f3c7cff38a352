"""What the development upstream takes from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.edge.settings import Port

__all__ = ["DevstoreSettings"]


class DevstoreSettings(BaseSettings):
    """Where it listens and keeps its data."""

    model_config = SettingsConfigDict(env_prefix="LAYER_DEVSTORE_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address of the development upstream.")
    port: Port = Field(8085, description="Port of the development upstream.")
    data_dir: Path = Field(
        Path(".layer/devstore"), description="Folder of the development upstream's database."
    )
