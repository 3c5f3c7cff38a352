"""How long calls take and how they end, as a metric."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from grpc.aio import ServicerContext
from opentelemetry.metrics import Meter

__all__ = ["CallMetrics"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class CallMetrics:
    """The histogram `rpc.server.call.duration`, in seconds, by `rpc.method` (with its service) and
    `rpc.response.status_code` (opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics)."""

    def __init__(self, meter: Meter) -> None:
        self._durations = meter.create_histogram(
            "rpc.server.call.duration", unit="s", explicit_bucket_boundaries_advisory=_SECONDS
        )

    @contextmanager
    def timed(self, method: str, context: ServicerContext[Any, Any]) -> Iterator[None]:
        """Count the call when it ends, with the status that its context has then."""
        started = time.monotonic()
        status = grpc.StatusCode.CANCELLED
        try:
            yield
        except grpc.aio.AbortError:
            status = context.code()
            raise
        else:
            # None unless a handler has set one.
            status = context.code() or grpc.StatusCode.OK
        finally:
            attributes = {
                "rpc.method": method.removeprefix("/"),
                "rpc.response.status_code": status.name,
            }
            self._durations.record(time.monotonic() - started, attributes)
