"""One stack for all end-to-end tests that leave its processes alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from services.cli.stack import Stack
from tests.doubles.recording_upstream import RecordingUpstream, serve_recording
from tests.e2e.stacks import free_port_row, running_stack

ROWS = [
    {
        "id": number,
        "title": f"{['red', 'green', 'blue'][number % 3]} wireless headphones {number}",
        "color": ["red", "green", "blue"][number % 3],
        "size": number % 5,
        "tags": ["a", "b", "c"][: number % 4],
        "vector": [float(number % 7), 1.0, 0.5, 0.25],
    }
    for number in range(1, 61)
]
SCHEMA = {"title": {"type": "string", "full_text_search": True}}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """The stack, open to everyone, with its metrics."""
    folder = tmp_path_factory.mktemp("stack")
    async with running_stack(folder, metrics_port=free_port_row(5)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of the gateway."""
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def products(stack: Stack) -> str:
    """A namespace with 60 documents, written through the gateway."""
    await write(stack, "products", ROWS)
    return "products"


@dataclass(frozen=True)
class Relay:
    """A stack and what stands in Turbopuffer's place behind it."""

    stack: Stack
    upstream: RecordingUpstream

    @property
    def url(self) -> str:
        return self.stack.gateway_url

    @property
    def envoy_pid(self) -> int:
        return self.stack.children["gateway"].process.pid


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_relay(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    """A stack whose upstream only records."""
    async with serve_recording() as upstream:
        # By a name that has an IPv6 address too, where nobody listens.
        url = upstream.url.replace("127.0.0.1", "localhost")
        overrides = {"TURBOPUFFER_BASE_URL": url, "TURBOPUFFER_API_KEY": "gateways-own"}
        async with running_stack(tmp_path_factory.mktemp("relay"), overrides) as stack:
            yield Relay(stack, upstream)


@pytest_asyncio.fixture(loop_scope="session")
async def relay(running_relay: Relay) -> Relay:
    """The relay, with an upstream that remembers nothing yet and answers 200."""
    running_relay.upstream.reset()
    return running_relay


async def write(stack: Stack, namespace: str, rows: list[dict[str, object]]) -> None:
    """Upsert rows through the gateway, as any client does."""
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as client:
        answer = await client.post(
            f"/v2/namespaces/{namespace}",
            json={"upsert_rows": rows, "distance_metric": "cosine_distance", "schema": SCHEMA},
        )
        assert answer.status_code == 200, answer.text
