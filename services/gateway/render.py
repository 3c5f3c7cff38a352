"""Envoy's configuration from its template and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import jinja2

from services.gateway.settings import GatewaySettings

__all__ = ["Address", "parse_address", "parse_addresses", "parse_url", "render_config"]

ROOT: Final = Path(__file__).resolve().parents[2]
ENVOY_FOLDER: Final = ROOT / "envoy"
DESCRIPTOR: Final = ROOT / "gen" / "layer.binpb"


@dataclass(frozen=True)
class Address:
    """Where something listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def authority(self) -> str:
        """The `Host` header for it: the port only where it is not the scheme's own."""
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `host:port`.

    Raises:
        ValueError: it is not of that form.
    """
    parts = urlsplit(f"//{text}")
    if not parts.hostname or not parts.port:
        raise ValueError(f"{text!r} is not host:port")
    return Address(parts.hostname, parts.port)


def parse_addresses(text: str) -> list[Address]:
    """Read `host:port`, or several, comma-separated.

    Raises:
        ValueError: one is not of that form.
    """
    return [parse_address(part.strip()) for part in text.split(",")]


def parse_url(text: str) -> Address:
    """Read `http://host[:port]` or `https://host[:port]`.

    Raises:
        ValueError: it is not of that form, or has a path, which Envoy would not add.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{text!r} is not http(s)://host[:port]")
    tls = parts.scheme == "https"
    return Address(parts.hostname, parts.port or (443 if tls else 80), tls)


def render_config(settings: GatewaySettings) -> str:
    """The YAML text that Envoy is started with. It holds no key.

    Raises:
        ValueError: an address in the settings is malformed.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ENVOY_FOLDER),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - it makes YAML from operators' settings, not HTML
    )
    return environment.get_template("envoy.yaml.j2").render(
        folder=ENVOY_FOLDER,
        descriptor=DESCRIPTOR,
        listen=Address(settings.gateway_host, settings.port),
        admin=Address(settings.envoy_admin_host, settings.envoy_admin_port),
        metrics_port=settings.metrics_port,
        snapshot=parse_addresses(settings.snapshot_address),
        history=parse_addresses(settings.history_address),
        searchlog=parse_addresses(settings.searchlog_address),
        document=parse_addresses(settings.document_address),
        upstream=parse_url(settings.turbopuffer_base_url),
        upstream_ca=settings.upstream_ca,
        otlp=parse_url(settings.otlp_endpoint) if settings.otlp_endpoint else None,
        trace_sampling_percent=settings.trace_sampling_percent if settings.otlp_endpoint else 0,
        max_body_bytes=settings.max_body_bytes,
        internal_key=settings.gateway_api_key is not None,
    )
