"""Runs Envoy with the rendered configuration, in place of this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.edge.settings import load_settings, parse_keys
from services.gateway.render import render_config
from services.gateway.settings import GatewaySettings

__all__ = ["main"]


def main() -> None:
    """Render, then become Envoy. Exits with 2 and one line when a setting is wrong."""
    settings = load_settings(GatewaySettings)
    try:
        keys = parse_keys(settings.gateway_api_key)
        config = render_config(settings)
    except (OSError, ValueError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if not keys:
        print(
            "gateway: open to everyone who can reach it; set LAYER_GATEWAY_API_KEY to close it",
            file=sys.stderr,
        )
    environment = {
        **os.environ,  # noqa: TID251 - Envoy reads its keys from there
        "TURBOPUFFER_API_KEY": settings.turbopuffer_api_key.get_secret_value(),
        "LAYER_INTERNAL_KEY": keys[0] if keys else "",
    }
    envoy = str(Path(sys.executable).parent / "envoy")
    arguments = [
        envoy,
        # As an argument, so that no file is left behind; it holds no key.
        "--config-yaml",
        config,
        "--concurrency",
        str(settings.envoy_concurrency),
        "--disable-hot-restart",
        "--log-level",
        "warn",
    ]
    os.execve(envoy, arguments, environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
