"""The `layer` command: the stack on one machine, and each server by itself."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from typing import Final

import typer
from rich.console import Console

from services.cli.searchlog import app as searchlog_app
from services.edge.settings import load_settings

__all__ = ["app", "main"]

app = typer.Typer(
    help="A search history plane beside Turbopuffer: snapshots, search history, clickstream.",
    no_args_is_help=True,
    add_completion=False,
)

SERVERS: Final = {
    "gateway": "Envoy, which every client talks to.",
    "snapshot": "SnapshotService: jobs, policy, watcher, retention.",
    "history": "HistoryService: history, bodies, activity.",
    "document": "DocumentService: documents and metadata.",
    "devstore": "The development upstream. Not for production.",
}


@app.command()
def up() -> None:
    """Start the whole stack on this machine, with sample data, until Ctrl-C."""
    _require_embedded()
    from services.cli.stack import StackSettings
    from services.cli.up import up as run_stack

    settings = load_settings(StackSettings)
    raise typer.Exit(asyncio.run(run_stack(settings, Console())))


@app.command()
def plan() -> None:
    """Say what SnapshotService would do now for each policy, without doing it."""
    # Imported on use, as the servers are.
    from services.cli.plan import show_plan

    raise typer.Exit(asyncio.run(show_plan(Console())))


def _require_embedded() -> None:
    """The development upstream has dependencies that nothing else needs."""
    if importlib.util.find_spec("duckdb") is None:
        print("this needs the extra `embedded`, which is not installed", file=sys.stderr)
        raise typer.Exit(2)


def _add_server(name: str, description: str) -> None:
    def run() -> None:
        if name == "devstore":
            _require_embedded()
        # Imported on use: a server's image need not hold the others' dependencies.
        importlib.import_module(f"services.{name}.__main__").main()

    app.command(name=name, help=description)(run)


for _name, _description in SERVERS.items():
    _add_server(_name, _description)
app.add_typer(searchlog_app, name="searchlog")


def main() -> None:
    """Entry point of the `layer` script."""
    app()


if __name__ == "__main__":
    main()
