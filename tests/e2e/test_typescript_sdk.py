"""Turbopuffer's official TypeScript SDK, pointed at the gateway."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Final

import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.stacks import eventually
from tests.e2e.test_upstream_trouble import behave

pytestmark = pytest.mark.asyncio(loop_scope="session")

PACKAGE: Final = "@turbopuffer/turbopuffer"
VERSION: Final = "2.8.0"
FOLDER_VARIABLE: Final = "LAYER_TEST_TURBOPUFFER_JS"
SCRIPT: Final = Path(__file__).parent / "typescript" / "operations.test.mjs"


def sdk_folder() -> Path:
    """Where the SDK is installed; nothing is downloaded by a test."""
    folder = Path(os.environ.get(FOLDER_VARIABLE) or "/nowhere")
    if not (folder / "node_modules" / PACKAGE / "package.json").is_file():
        pytest.skip(
            f"npm install --prefix FOLDER {PACKAGE}@{VERSION}, then set {FOLDER_VARIABLE}=FOLDER"
        )
    if shutil.which("node") is None:
        pytest.skip("needs Node.js 20 or newer on the PATH")
    return folder


async def test_every_operation(stack: Stack, http: httpx.AsyncClient) -> None:
    folder = sdk_folder()
    await behave(stack, "ts-flaky", fail_next=2, fail_status=429, fail_routes=["write"])
    await behave(stack, "ts-slow", delay_ms=2000)
    process = await asyncio.create_subprocess_exec(
        *("node", "--test", "--test-reporter", "spec", str(SCRIPT)),
        env={
            **os.environ,
            FOLDER_VARIABLE: str(folder.resolve()),
            "TURBOPUFFER_BASE_URL": stack.gateway_url,
            "TURBOPUFFER_API_KEY": "callers-own",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()

    async def logged() -> list[object]:
        path = "/v2/namespaces/ts-queries/search-history"
        answer = await http.get(path, params={"tag": "session:typescript"})
        queries: list[object] = [entry["query"] for entry in answer.json()["entries"]]
        return queries

    # Its queries are part of the search history like any others.
    assert len(await eventually(logged, lambda queries: len(queries) == 5)) == 5
