"""Counts of a process, as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from services.telemetry.counts import observe_counts
from services.telemetry.providers import build_telemetry
from tests.e2e.stacks import free_ports


@dataclass
class TeaCounts:
    poured: int = 0
    spilled: int = 0


def test_counts_are_served_as_they_stand() -> None:
    (port,) = free_ports(1)
    telemetry = build_telemetry(
        "kitchen", otlp_endpoint=None, metrics_host="127.0.0.1", metrics_port=port
    )
    try:
        counts = TeaCounts()
        observe_counts(telemetry.meter, tea=counts)
        counts.poured = 3
        first = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        counts.poured = 5
        second = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    finally:
        telemetry.shutdown()

    def reading(text: str, event: str) -> float:
        (line,) = [
            line
            for line in text.splitlines()
            if line.startswith("layer_tea_total{") and f'event="{event}"' in line
        ]
        return float(line.rpartition(" ")[2])

    assert (reading(first, "poured"), reading(second, "poured")) == (3, 5)
    assert reading(second, "spilled") == 0
