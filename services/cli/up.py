"""`layer up`: the whole stack on this machine, with sample data, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Final

import httpx
from rich.console import Console
from turbopuffer import APIError, AsyncTurbopuffer

from services.cli.stack import Stack, StackError, StackSettings, death_notice
from services.samples.movies import NAMESPACE, load_movies

__all__ = ["up"]

_SNAPSHOT_SECONDS: Final = 120.0


async def up(settings: StackSettings, console: Console) -> int:
    """Run until a signal or the first death of a child; the exit status."""
    stack = Stack(settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    work = asyncio.create_task(_start_and_watch(stack, console))
    signalled = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({work, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    except (StackError, APIError, httpx.HTTPError) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    else:
        return 0
    finally:
        for task in (work, signalled):
            task.cancel()
        await asyncio.gather(work, signalled, return_exceptions=True)
        console.print("stopping")
        await stack.stop()


async def _start_and_watch(stack: Stack, console: Console) -> None:
    """Ends only by an error."""
    with console.status("starting"):
        await stack.start()
    death = asyncio.create_task(stack.first_death())
    greeting = asyncio.create_task(_greet(stack, console))
    try:
        await asyncio.wait({death, greeting}, return_when=asyncio.FIRST_COMPLETED)
        if greeting.done():
            greeting.result()
        child = await death
    finally:
        for task in (death, greeting):
            task.cancel()
    raise StackError(death_notice(child))


async def _greet(stack: Stack, console: Console) -> None:
    """Load the sample once, wait for its snapshot, and say what to try."""
    key = _first_key()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(
        base_url=stack.gateway_url, headers=headers, timeout=30.0
    ) as client:
        rows = 0
        if (await client.get(f"/v1/namespaces/{NAMESPACE}/schema")).status_code == 404:
            with console.status("loading 17,472 films into the namespace movies"):
                async with AsyncTurbopuffer(
                    base_url=stack.gateway_url, api_key=key or "none"
                ) as upstream:
                    rows = await load_movies(upstream)
        with console.status("waiting for the automatic snapshot"):
            await _await_snapshot(client, rows)
    console.print(
        _tour(stack.gateway_url, bool(key)), markup=False, highlight=False, soft_wrap=True
    )


async def _await_snapshot(client: httpx.AsyncClient, rows: int) -> None:
    """Wait for a snapshot of at least so many documents: the loading itself may be seen midway."""
    deadline = asyncio.get_running_loop().time() + _SNAPSHOT_SECONDS
    base = f"/v2/namespaces/{NAMESPACE}"
    while True:
        history = (await client.get(f"{base}/history")).raise_for_status().json()
        if history:
            body = await client.get(f"{base}/snapshots/{history[0]['sha']}")
            if body.raise_for_status().json()["row_count"] >= rows:
                return
        if asyncio.get_running_loop().time() > deadline:
            raise StackError("no automatic snapshot of movies appeared; see the log of snapshot")
        await asyncio.sleep(0.2)


def _first_key() -> str:
    """The first of the gateway's keys, empty when it is open."""
    text = os.environ.get("LAYER_GATEWAY_API_KEY", "")  # noqa: TID251 - passed on, not kept
    return text.split(",")[0].strip()


def _tour(url: str, keyed: bool) -> str:
    """Commands that work as printed."""
    auth = ' -H "authorization: Bearer ${LAYER_GATEWAY_API_KEY%%,*}"' if keyed else ""
    curl = f"curl -s{auth}"
    base = f"{url}/v2/namespaces/{NAMESPACE}"
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = f"-H 'traceparent: 00-{trace}-00f067aa0ba902b7-01'"
    return f"""
The history plane is up: {url}  (Ctrl-C stops it)

  # what the corpus looks like, and looked like
  {curl} {base}/history
  {curl} {base}/snapshots -d '{{"field": "genres"}}'
  {curl} {base}/snapshot-jobs
  {curl} '{url}/v2/activity/snapshots?since=0'

  # search: Envoy passes it to the upstream and keeps a line of it
  {curl} {base}/query {traced} -H 'x-hevlayer-tags: session:demo' \\
    -d '{{"rank_by": ["title", "BM25", "alien"], "top_k": 3, "include_attributes": ["title"]}}'
  # fetch what was found in the same trace: a click
  {curl} {base}/documents/103569 {traced}
  {curl} '{base}/search-history?tag=session:demo'
  {curl} '{base}/clickstream?trace_id={trace}'
"""
