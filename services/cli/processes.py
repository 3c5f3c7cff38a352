"""Child processes that are started, watched and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Child", "ProcessGroup"]

_LAST_LINES: Final = 8
_LAST_BYTES: Final = 16_384


@dataclass(frozen=True)
class Child:
    """A running child and where its output goes."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_words(self) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(self.log.stat().st_size - _LAST_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])


class ProcessGroup:
    """Starts children of one environment, each with a log file; stops them in reverse order."""

    def __init__(self, environment: Mapping[str, str], log_folder: Path) -> None:
        self._environment = dict(environment)
        self._log_folder = log_folder
        self._children: dict[str, Child] = {}

    @property
    def children(self) -> Mapping[str, Child]:
        """The children by name, in the order they were started."""
        return self._children

    async def start(
        self, name: str, module: str, variables: Mapping[str, str] | None = None
    ) -> Child:
        """Run `python -m module`, with variables of its own. Its output is appended to
        `<name>.log`."""
        self._log_folder.mkdir(parents=True, exist_ok=True)
        log = self._log_folder / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                module,
                env={**self._environment, **(variables or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches this process alone, which then stops the children in order.
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._children.pop(name, None)
        self._children[name] = child
        return child

    async def first_death(self) -> Child:
        """The first child that ends."""
        waits = {
            asyncio.create_task(child.process.wait()): child for child in self._children.values()
        }
        try:
            done, _pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        return waits[done.pop()]

    async def stop(self, grace_seconds: float) -> None:
        """SIGTERM to each child, the last started first; SIGKILL after the grace."""
        for child in reversed(self._children.values()):
            await stop_child(child, grace_seconds)
        self._children.clear()


async def stop_child(child: Child, grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL after the grace."""
    if child.process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(grace_seconds):
            await child.process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.process.kill()
        await child.process.wait()
