"""Counts that the parts keep as plain dataclasses, read by the meter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, Meter, Observation

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["observe_counts"]


def observe_counts(meter: Meter, **counts: DataclassInstance) -> None:
    """Have the meter read each as a counter `layer.<name>` with one series a field, by the
    attribute `event`. A part counts in plain integers and knows nothing of metrics."""
    for name, each in counts.items():
        meter.create_observable_counter(f"layer.{name}", [_reading(each)])


def _reading(
    counts: DataclassInstance,
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(_: CallbackOptions) -> Iterator[Observation]:
        for field in fields(counts):
            value = getattr(counts, field.name)
            if not isinstance(value, Mapping):
                yield Observation(value, {"event": field.name})

    return read
