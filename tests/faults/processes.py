"""Running the programs beside the fault tests, and reading what they say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

__all__ = ["lines", "running"]


@contextmanager
def running(module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """`python -m module arguments`, killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int | None = None) -> list[str]:
    """The next lines of a process's output; without a count, all to its end."""
    output: IO[str] | None = process.stdout
    assert output is not None
    if count is None:
        return output.read().splitlines()
    read = [output.readline().rstrip("\n") for _ in range(count)]
    assert all(read), f"the process ended early: {read}"
    return read
