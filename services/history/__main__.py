"""Runs HistoryService."""

from services.edge.server import run_server
from services.history.settings import HistorySettings
from services.history.wiring import build


def main() -> None:
    """Serve until SIGTERM."""
    run_server("history", HistorySettings, "history_port", build)


if __name__ == "__main__":
    main()
