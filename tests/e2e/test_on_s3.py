"""The same stack with S3 as its store and no cache: what an installation looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import boto3
import httpx
import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import eventually, running_stack, snapshot_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, str]]:
    """A stack over a bucket, and the S3 server's address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    bucket_client(url).create_bucket(Bucket="history")
    overrides = {
        "LAYER_OBJECT_STORE": "s3://history/layer/one",
        "LAYER_S3_ENDPOINT_URL": url,
        "LAYER_S3_REGION": "us-east-1",
        "LAYER_CACHE": "none",
        "LAYER_FLUSH_LINGER_SECONDS": "0.5",
        **CREDENTIALS,
    }
    try:
        async with running_stack(tmp_path_factory.mktemp("s3"), overrides) as stack:
            yield stack, url
    finally:
        server.stop()


def bucket_client(url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


async def test_snapshots_and_searches_are_kept_in_the_bucket(on_s3: tuple[Stack, str]) -> None:
    stack, url = on_s3
    await write(stack, "kept", ROWS)
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as client:
        done = await snapshot_of(client, "kept", field="color", source="origin")
        assert done["status"] == "completed"
        query = {"rank_by": ["title", "BM25", "blue"], "top_k": 2}
        await client.post("/v2/namespaces/kept/query", json=query)

        def keys(prefix: str) -> list[str]:
            listed = bucket_client(url).list_objects_v2(Bucket="history", Prefix=prefix)
            return [entry["Key"] for entry in listed.get("Contents", [])]

        async def trail() -> list[str]:
            return keys("layer/one/search-history/kept/")

        (line,) = await eventually(trail, lambda keys: len(keys) == 1)
        assert line.endswith(".jsonl")
        (body,) = keys("layer/one/snapshots/kept/")
        assert body.endswith(f"-{done['sha']}.json")
        # Nothing is in memory any more: what is listed comes from the bucket.
        for name in ("searchlog", "history", "snapshot"):
            await stack.kill_one(name)
            await stack.start_one(name)

        async def history() -> list[str]:
            answer = await client.get("/v2/namespaces/kept/history")
            return [entry["sha"] for entry in answer.json()] if answer.is_success else []

        assert await eventually(history, bool, seconds=30) == [done["sha"]]

        async def searches() -> list[str]:
            answer = await client.get("/v2/namespaces/kept/search-history")
            found = answer.json()["entries"] if answer.is_success else []
            return [entry["raw_query"] for entry in found]

        assert await eventually(searches, bool, seconds=30) == ["blue"]
