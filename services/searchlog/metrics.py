"""The service's counts as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.searchlog.model import TrailCounts
from services.searchlog.spool import SpoolCounts
from services.searchlog.tap import TapCounts

__all__ = ["observe"]


def observe(meter: Meter, trail: TrailCounts, tap: TapCounts, spool: SpoolCounts) -> None:
    """Have the meter read the counts: `layer.searchlog.{trail,tap,spool}`, one series a field,
    and `layer.searchlog.dropped`, one a reason."""
    for name, counts in (("trail", trail), ("tap", tap), ("spool", spool)):
        meter.create_observable_counter(f"layer.searchlog.{name}", [_reading(counts)])
    meter.create_observable_counter(
        "layer.searchlog.dropped",
        [lambda _: [Observation(n, {"reason": r.value}) for r, n in trail.dropped.items()]],
    )


def _reading(
    counts: TrailCounts | TapCounts | SpoolCounts,
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_: CallbackOptions) -> Iterator[Observation]:
        for field in fields(counts):
            value = getattr(counts, field.name)
            if not isinstance(value, Mapping):
                yield Observation(value, {"event": field.name})

    return read
