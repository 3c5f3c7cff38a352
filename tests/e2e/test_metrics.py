"""What Prometheus reads of every process, and what the alerts and the dashboard make of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import yaml

from services.cli.stack import Stack
from tests.e2e.stacks import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEPLOY = Path(__file__).parents[2] / "deploy"
PROCESSES = ("snapshot", "history", "searchlog", "document", "gateway")
_FUNCTIONS = {"sum", "by", "rate", "increase", "histogram_quantile", "max", "le", "instance"}


async def metrics(stack: Stack, name: str) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{stack.metrics_port(name)}/metrics")
    assert answer.status_code == 200
    return answer.text


def reading(text: str, name: str, **labels: str) -> float:
    """The sum of the series with these labels."""
    lines = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in wanted)
    )


@pytest_asyncio.fixture(loop_scope="session")
async def queried(http: httpx.AsyncClient, products: str) -> str:
    answer = await http.post(
        f"/v2/namespaces/{products}/query", json={"rank_by": ["id", "asc"], "top_k": 1}
    )
    assert answer.status_code == 200
    assert (await http.get(f"/v2/namespaces/{products}/history")).status_code == 200
    return products


async def test_a_query_is_counted_by_envoy_and_by_searchlog(
    stack: Stack, http: httpx.AsyncClient, queried: str
) -> None:
    async def counted() -> tuple[float, float]:
        gateway, searchlog = await metrics(stack, "gateway"), await metrics(stack, "searchlog")
        return (
            reading(gateway, "envoy_access_logs_grpc_access_log_logs_written"),
            reading(searchlog, "layer_tap_total", event="entries"),
        )

    before = await eventually(counted, lambda counts: counts[0] == counts[1] > 0)
    await http.post(f"/v2/namespaces/{queried}/query", json={"rank_by": ["id", "asc"], "top_k": 1})
    await eventually(counted, lambda counts: counts == (before[0] + 1, before[1] + 1))
    text = await metrics(stack, "searchlog")
    assert reading(text, "layer_spool_limit_bytes") > 0
    assert reading(text, "layer_spool_size_bytes") < reading(text, "layer_spool_limit_bytes")
    assert reading(text, "layer_dropped_total") == 0


async def test_calls_are_counted_with_their_status(
    stack: Stack, http: httpx.AsyncClient, queried: str
) -> None:
    name = "rpc_server_call_duration_seconds_count"
    method = "layer.history.v2.HistoryService/GetSnapshot"
    missing = {"rpc_method": method, "rpc_response_status_code": "NOT_FOUND"}
    before = reading(await metrics(stack, "history"), name, **missing)
    answer = await http.get(f"/v2/namespaces/{queried}/snapshots/{'0' * 64}")
    assert answer.status_code == 404
    assert reading(await metrics(stack, "history"), name, **missing) == before + 1


async def test_envoys_metrics_port_serves_nothing_else(stack: Stack) -> None:
    url = f"http://127.0.0.1:{stack.metrics_port('gateway')}"
    async with httpx.AsyncClient() as client:
        for path in ("/", "/stats", "/config_dump", "/metrics/../config_dump", "/quitquitquit"):
            assert (await client.get(f"{url}{path}")).status_code == 404, path
        assert (await client.post(f"{url}/quitquitquit")).status_code == 404
        assert (await client.post(f"{url}/metrics")).status_code == 404


def expressions() -> list[str]:
    """Every query of the alerts and the dashboard."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
    found = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    dashboard = json.loads((DEPLOY / "grafana" / "layer.json").read_text())
    for panel in dashboard["panels"]:
        found += [target["expr"] for target in panel.get("targets", [])]
    return found


async def test_alerts_and_dashboard_name_what_there_is(stack: Stack, queried: str) -> None:
    del queried
    served = "".join([await metrics(stack, name) for name in PROCESSES])
    there = set(re.findall(r"^([a-z_]+)(?:\{| )", served, re.MULTILINE))
    events = set(re.findall(r'[{,]event="(\w+)"', served))
    for expression in expressions():
        outside = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", expression)
        names = set(re.findall(r"\b[a-z][a-z_]+\b", outside)) - _FUNCTIONS
        assert names, expression
        assert names <= there, f"{names - there} in {expression}"
        for value in re.findall(r'\bevent[!=~]+"([^"]*)"', expression):
            assert set(value.split("|")) <= events, expression
