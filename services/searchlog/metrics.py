"""The service's counts as metrics."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.metrics import Meter, Observation

from services.searchlog.spool import Spool
from services.searchlog.tap import TapCounts
from services.searchlog.writer import TrailWriter
from services.telemetry.counts import observe_counts

__all__ = ["observe"]


def observe(meter: Meter, tap: TapCounts, writer: TrailWriter, spool: Spool) -> None:
    """Have the meter read the counts: `layer.{trail,tap,spool}`, one series a field, and
    `layer.dropped`, one a reason; and how much waits to be stored, where, and for how long."""
    trail = writer.counts
    observe_counts(meter, trail=trail, tap=tap, spool=spool.counts)
    meter.create_observable_counter(
        "layer.dropped",
        [lambda _: [Observation(n, {"reason": r.value}) for r, n in trail.dropped.items()]],
    )
    _observe_level(meter, "layer.spool_size", "By", lambda: spool.size_bytes)
    _observe_level(meter, "layer.spool_limit", "By", lambda: spool.max_bytes)
    _observe_level(meter, "layer.held", "By", lambda: writer.held_bytes)
    _observe_level(meter, "layer.oldest_waiting", "s", lambda: writer.oldest_waiting_seconds)


def _observe_level(meter: Meter, name: str, unit: str, read: Callable[[], float]) -> None:
    meter.create_observable_gauge(name, [lambda _: [Observation(read())]], unit=unit)
