"""Runs SearchLogService."""

from services.edge.server import run_server
from services.searchlog.settings import SearchLogSettings
from services.searchlog.wiring import build


def main() -> None:
    """Serve until SIGTERM."""
    run_server("searchlog", SearchLogSettings, "searchlog_port", build)


if __name__ == "__main__":
    main()
