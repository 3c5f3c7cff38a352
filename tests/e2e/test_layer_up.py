"""`layer up` as a newcomer runs it: it starts, prints commands, and each works as printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.cli.stack import StackSettings
from tests.e2e.stacks import free_ports

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


def environment(folder: Path) -> dict[str, str]:
    names = [name for name in StackSettings.model_fields if name.endswith("port")]
    ports = zip(names, free_ports(len(names)), strict=True)
    return {
        **os.environ,
        **{f"LAYER_{name.upper()}": str(port) for name, port in ports},
        "LAYER_DATA_DIR": str(folder),
    }


@asynccontextmanager
async def layer_up(variables: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.cli", "up"),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def printed_until(process: asyncio.subprocess.Process, marker: str) -> str:
    assert process.stdout is not None
    text = ""
    while marker not in text:
        line = await process.stdout.readline()
        assert line, f"it ended, having said: {text}"
        text += line.decode()
    return text


async def shell(command: str) -> str:
    process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output.decode()


async def test_every_printed_command_works_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    async with layer_up(variables) as process:
        text = await printed_until(process, "clickstream?trace_id=")
        commands = re.findall(r"^  (curl (?:.*\\\n)*.*)$", text, re.MULTILINE)
        assert len(commands) == 8
        answers = []
        for command in commands:
            if "search-history" in command or "clickstream" in command:
                # What was served is listed within a second.
                await asyncio.sleep(1)
            answers.append(json.loads(await shell(command)))
        history, job, jobs, activity, found, document, searches, clicks = answers
        assert len(history) >= 1
        assert job["status"] == "running"
        assert jobs["snapshot_jobs"][-1]["id"] == job["id"]
        assert activity["events"][0]["namespace"] == "movies"
        assert "103569" in [str(row["id"]) for row in found["rows"]]
        assert document["attributes"]["title"] == "Alien"
        assert searches["entries"][0]["raw_query"] == "alien"
        assert [event["doc_id"] for event in clicks["events"]] == ["103569"]
        assert clicks["events"][0]["trace_id"] == searches["entries"][0]["trace_id"]

        body = f"http://127.0.0.1:{variables['LAYER_PORT']}/v2/namespaces/movies/snapshots"
        stored = json.loads(await shell(f"curl -s {body}/{history[0]['sha']}"))
        assert stored["row_count"] == 17_472
        assert [f["name"] for f in stored["fields"]] == ["countries", "genres", "rating", "year"]
        assert [f["name"] for f in stored["fields_skipped"]] == ["cast"]
        assert stored["fields_skipped"][0]["distinct_observed"] > 10_000

        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 40) == 0
    listening = [
        asyncio.open_connection("127.0.0.1", int(p))
        for n, p in variables.items()
        if n.endswith("_PORT") and n.startswith("LAYER_")
    ]
    assert all(
        isinstance(r, OSError) for r in await asyncio.gather(*listening, return_exceptions=True)
    )

    async with layer_up(variables) as process:
        # Data survives: nothing is loaded again and the history is the same.
        await printed_until(process, "clickstream?trace_id=")
        again = json.loads(await shell(commands[0]))
        assert [entry["sha"] for entry in again] == [entry["sha"] for entry in history]


async def test_a_child_that_dies_is_named_and_stops_the_rest(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    variables["LAYER_DRAIN_SECONDS"] = "never"
    async with layer_up(variables) as process:
        assert process.stdout is not None
        output = (await process.stdout.read()).decode()
        assert await process.wait() == 1
    assert "searchlog ended with status 2" in output
    assert "LAYER_DRAIN_SECONDS" in output
    assert "Traceback" not in output


async def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    server = await asyncio.start_server(
        lambda _r, _w: None, "127.0.0.1", int(variables["LAYER_PORT"])
    )
    async with server, layer_up(variables) as process:
        assert process.stdout is not None
        output = (await process.stdout.read()).decode()
        assert await process.wait() == 1
    assert f"port {variables['LAYER_PORT']} is in use: set LAYER_PORT to another" in output
