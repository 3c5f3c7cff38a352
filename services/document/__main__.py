"""Runs DocumentService."""

from services.document.settings import DocumentSettings
from services.document.wiring import build
from services.edge.server import run_server


def main() -> None:
    """Serve until SIGTERM."""
    run_server("document", DocumentSettings, "document_port", build)


if __name__ == "__main__":
    main()
