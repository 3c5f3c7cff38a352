"""`layer searchlog`: the server, and the tools for what it has stored."""

from __future__ import annotations

import asyncio
import importlib
from typing import Annotated

import typer
from rich.console import Console

__all__ = ["app"]

app = typer.Typer(help="SearchLogService: search history and clickstream.")


@app.callback(invoke_without_command=True)
def serve(context: typer.Context) -> None:
    """Run SearchLogService, or one of the commands below."""
    if context.invoked_subcommand is None:
        # Imported on use: a server's image need not hold the others' dependencies.
        importlib.import_module("services.searchlog.__main__").main()


@app.command()
def erase(
    tag: Annotated[
        list[str] | None,
        typer.Option(help="Tag of the entries, such as session:abc123; repeat it to ask for all."),
    ] = None,
    trace_id: Annotated[str | None, typer.Option(help="W3C trace id of the entries.")] = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace to erase from; alone: all of its trail.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Go on until entries that are not stored yet are gone too."),
    ] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Run though an erasure that was killed seems to.")
    ] = False,
) -> None:
    """Erase searches and fetches from the object store and the cache.

    Entries that match all options go. Those of the last seconds may not be stored yet: use --wait,
    or run it again later. One erasure runs at a time.
    """
    from services.cli.erase import erase_command

    code = asyncio.run(
        erase_command(
            tags=tag or [],
            trace_id=trace_id,
            namespace=namespace,
            dry_run=dry_run,
            wait=wait,
            break_lock=break_lock,
            console=Console(soft_wrap=True),
        )
    )
    raise typer.Exit(code)
