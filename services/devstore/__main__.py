"""Runs the development upstream."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import duckdb
import uvicorn

from services.core.clock import SystemClock
from services.devstore.app import create_app
from services.devstore.database import Database
from services.devstore.settings import DevstoreSettings
from services.edge.settings import load_settings

__all__ = ["main"]


def main() -> None:
    """Serve until SIGTERM. Exits with 1 and one line when the data cannot be opened."""
    settings = load_settings(DevstoreSettings)
    clock = SystemClock()
    try:
        database = Database(settings.data_dir, clock)
    except (OSError, duckdb.Error) as error:
        print(f"devstore: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(
        f"devstore: a stand-in for Turbopuffer on {settings.host}:{settings.port}, "
        "for development only",
        file=sys.stderr,
    )
    # uvicorn stops at a SIGTERM and then raises it again, for whoever had it before.
    signal.signal(signal.SIGTERM, _exit)
    try:
        uvicorn.run(
            create_app(database, clock),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            log_level="warning",
            server_header=False,
        )
    finally:
        database.close()


def _exit(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
