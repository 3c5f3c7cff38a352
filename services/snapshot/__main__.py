"""Runs SnapshotService."""

from services.edge.server import run_server
from services.snapshot.settings import SnapshotSettings
from services.snapshot.wiring import build


def main() -> None:
    """Serve until SIGTERM."""
    run_server("snapshot", SnapshotSettings, "snapshot_port", build)


if __name__ == "__main__":
    main()
