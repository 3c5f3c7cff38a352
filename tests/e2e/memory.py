"""A process's memory, as Linux tells of it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PeakMemory"]


class PeakMemory:
    """By how much a process has grown at most since this was made."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        try:
            # proc(5): forgets the highest resident set size until now.
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            # Not every sandbox has it: only what goes beyond the peak until now is seen then.
            self._before = self._kibibytes("VmHWM")
        else:
            self._before = self._kibibytes("VmRSS")

    @property
    def growth_mebibytes(self) -> float:
        return (self._kibibytes("VmHWM") - self._before) / 1024

    def _kibibytes(self, name: str) -> int:
        lines = self._status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
