"""The development upstream as a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

__all__ = ["DevstoreProcess", "running_devstore"]

_START_SECONDS = 20.0


@dataclass(frozen=True)
class DevstoreProcess:
    """One that was started; it may not answer yet, or no more."""

    process: subprocess.Popen[str]
    url: str

    def wait_until_ready(self) -> None:
        """Return when it answers; fails when it ended instead."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self.process.poll() is None, "the process ended early"
            assert time.monotonic() < deadline, "the process does not answer"
            try:
                httpx.get(f"{self.url}/dev/v1/health").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.02)
            else:
                return


@contextmanager
def running_devstore(data_dir: Path) -> Iterator[DevstoreProcess]:
    """Started on a port that was free a moment ago; killed at the end if it still runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "services.devstore"],
        env={
            **os.environ,
            "LAYER_DEVSTORE_PORT": str(port),
            "LAYER_DEVSTORE_DATA_DIR": str(data_dir),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield DevstoreProcess(process, f"http://127.0.0.1:{port}")
        finally:
            process.kill()
