"""The service's counts as metrics."""

from __future__ import annotations

from opentelemetry.metrics import Meter, Observation

from services.searchlog.model import TrailCounts
from services.searchlog.spool import SpoolCounts
from services.searchlog.tap import TapCounts
from services.telemetry.counts import observe_counts

__all__ = ["observe"]


def observe(meter: Meter, trail: TrailCounts, tap: TapCounts, spool: SpoolCounts) -> None:
    """Have the meter read the counts: `layer.{trail,tap,spool}`, one series a field, and
    `layer.dropped`, one a reason."""
    observe_counts(meter, trail=trail, tap=tap, spool=spool)
    meter.create_observable_counter(
        "layer.dropped",
        [lambda _: [Observation(n, {"reason": r.value}) for r, n in trail.dropped.items()]],
    )
