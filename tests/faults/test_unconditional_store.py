"""Services over an S3 that overwrites: they say so and end."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.doubles.scripted_s3_server import ScriptedS3Server

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("module", ["services.searchlog", "services.snapshot"])
async def test_a_store_that_overwrites_ends_the_service(module: str, tmp_path: Path) -> None:
    async with ScriptedS3Server() as server:
        # Both puts of one key succeed.
        server.ok(b"")
        server.ok(b"")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", module),
            env={
                **os.environ,
                "LAYER_OBJECT_STORE": "s3://bucket/prefix",
                "LAYER_S3_ENDPOINT_URL": server.url,
                "LAYER_S3_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "LAYER_SPOOL_DIR": str(tmp_path / "spool"),
                "TURBOPUFFER_API_KEY": "test",
            },
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert process.returncode == 1
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"{module.removeprefix('services.')}: the object store ignores cond")
