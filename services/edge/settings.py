"""Settings that every server has, and the one way to read them.

Settings come from environment variables. A wrong value is one line on standard error and exit
status 2: the person who set it needs the variable's name, not a traceback.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["Port", "ServerSettings", "load_settings", "parse_keys"]

Port = Annotated[int, Field(ge=1, le=65535)]


class ServerSettings(BaseSettings):
    """What each gRPC server takes from the environment."""

    model_config = SettingsConfigDict(env_prefix="LAYER_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address that the gRPC servers listen on.")
    log_level: str = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged."
    )
    gateway_api_key: Annotated[SecretStr | None, NoDecode] = Field(
        None,
        description="Bearer keys, comma-separated, or `@/path` of a file with one a line. "
        "Unset: open.",
    )
    drain_seconds: float = Field(
        5.0, ge=0, le=300, description="How long calls and jobs may take to end after SIGTERM."
    )
    otlp_endpoint: str | None = Field(
        None, description="OTLP/gRPC collector for traces, such as `http://127.0.0.1:4317`."
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port for Prometheus metrics, `/metrics`; 0: none. `layer up` takes it for the "
        "first of several, one a process.",
    )


def parse_keys(text: SecretStr | None) -> tuple[str, ...]:
    """The keys of `LAYER_GATEWAY_API_KEY`; empty when the gateway is open.

    Raises:
        OSError: the named file cannot be read.
        ValueError: the variable or file is set but holds no key.
    """
    if text is None:
        return ()
    value = text.get_secret_value()
    if value.startswith("@"):
        value = Path(value[1:]).read_text(encoding="utf-8").replace("\n", ",")
    keys = tuple(key.strip() for key in value.split(",") if key.strip())
    if not keys:
        raise ValueError("LAYER_GATEWAY_API_KEY is set but holds no key")
    return keys


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Read settings from the environment, or exit with status 2 and one line a fault."""
    try:
        return settings_class()
    except ValidationError as error:
        prefix = settings_class.model_config.get("env_prefix", "")
        for fault in error.errors():
            name = "_".join(str(part) for part in fault["loc"])
            # An alias is a whole variable already.
            variable = prefix + name.upper() if name in settings_class.model_fields else name
            print(f"{variable}: {fault['msg']}", file=sys.stderr)
        raise SystemExit(2) from None
