"""The same stack with S3 as its store and no cache: what an installation looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
import pytest_asyncio

from services.cli.stack import Stack
from services.storage.s3 import S3ObjectStore
from tests.contract.s3_server import running_s3
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import eventually, running_stack, snapshot_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_s3(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Stack, S3ObjectStore]]:
    """A stack over a bucket, and its part of the bucket."""
    with running_s3() as server:
        settings = server.settings()
        overrides = {
            **server.variables(settings.prefix),
            "LAYER_CACHE": "none",
            "LAYER_FLUSH_LINGER_SECONDS": "0.5",
        }
        async with (
            S3ObjectStore(settings, session=server.session) as store,
            running_stack(tmp_path_factory.mktemp("s3"), overrides) as stack,
        ):
            yield stack, store


async def test_snapshots_and_searches_are_kept_in_the_bucket(
    on_s3: tuple[Stack, S3ObjectStore],
) -> None:
    stack, store = on_s3
    await write(stack, "kept", ROWS)
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as client:
        done = await snapshot_of(client, "kept", field="color", source="origin")
        assert done["status"] == "completed"
        query = {"rank_by": ["title", "BM25", "blue"], "top_k": 2}
        await client.post("/v2/namespaces/kept/query", json=query)

        async def trail() -> Sequence[str]:
            return await store.list("search-history/kept/")

        (line,) = await eventually(trail, lambda keys: len(keys) == 1)
        assert line.endswith(".jsonl")
        (body,) = await store.list("snapshots/kept/")
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
