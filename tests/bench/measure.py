"""Times of alternatives, taken in turns so that a busy machine is busy for all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

__all__ = ["best_seconds", "report"]


def best_seconds(
    alternatives: Mapping[str, Callable[[], object]], *, rounds: int = 5
) -> dict[str, float]:
    """The shortest time of each, in seconds: what is longer was disturbed."""
    best = dict.fromkeys(alternatives, float("inf"))
    for _ in range(rounds):
        for name, run in alternatives.items():
            gc.collect()
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def report(seconds: Mapping[str, float], work: int, unit: str) -> None:
    """Print a line for each alternative: its rate, and its ratio to the last one's."""
    baseline = list(seconds.values())[-1]
    for name, value in seconds.items():
        print(f"  {name:<34} {work / value:>12,.0f} {unit}/s  {baseline / value:>5.2f}x")
