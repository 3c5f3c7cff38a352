"""What Envoy is told of Turbopuffer, where a test would have to wait for an hour to see it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from services.gateway.render import render_config
from services.gateway.settings import GatewaySettings


def rendered(base_url: str, **fields: Any) -> Any:
    settings = GatewaySettings.model_validate(
        {"TURBOPUFFER_BASE_URL": base_url, "TURBOPUFFER_API_KEY": "secret-key", **fields}
    )
    text = render_config(settings)
    assert "secret-key" not in text
    return yaml.safe_load(text)


def connection_manager(config: Any) -> Any:
    (listener,) = config["static_resources"]["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.mark.parametrize("base_url", ["https://gcp-us-central1.turbopuffer.com", "http://a:81"])
def test_routes_to_turbopuffer_neither_time_out_nor_try_again(base_url: str) -> None:
    manager = connection_manager(rendered(base_url))
    (host,) = manager["route_config"]["virtual_hosts"]
    relaying = [
        route["route"] for route in host["routes"] if route["route"]["cluster"] == "upstream"
    ]
    assert len(relaying) == 3
    for route in relaying:
        assert route["timeout"] == "0s"
        # The clients' own timeouts end sooner.
        assert int(route["idle_timeout"].removesuffix("s")) >= 3600
        assert "retry_policy" not in route
    assert "retry_policy" not in host
    assert "request_timeout" not in manager


def test_an_upstream_over_tls_may_speak_http2() -> None:
    config = rendered("https://gcp-us-central1.turbopuffer.com")
    (cluster,) = [c for c in config["static_resources"]["clusters"] if c["name"] == "upstream"]
    (protocol,) = cluster["typed_extension_protocol_options"].values()
    assert "auto_config" in protocol
    assert cluster["transport_socket"]["typed_config"]["sni"] == "gcp-us-central1.turbopuffer.com"


def test_of_the_admin_page_only_metrics_are_served_and_only_when_asked_for() -> None:
    config = rendered("http://a:81", metrics_port=9464)
    metrics = config["static_resources"]["listeners"][1]
    assert metrics["address"]["socket_address"]["port_value"] == 9464
    manager = metrics["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    (route,) = host["routes"]
    assert route["match"]["path"] == "/metrics"
    assert route["route"] == {"cluster": "admin", "prefix_rewrite": "/stats/prometheus"}
    closed = rendered("http://a:81")["static_resources"]
    assert [listener["name"] for listener in closed["listeners"]] == ["gateway"]
    assert "admin" not in {cluster["name"] for cluster in closed["clusters"]}
