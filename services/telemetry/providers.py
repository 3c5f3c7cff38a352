"""OpenTelemetry providers of one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import start_http_server

__all__ = ["Telemetry", "build_telemetry"]


@dataclass(frozen=True)
class Telemetry:
    """What a process uses to trace and to count."""

    server_interceptors: Sequence[grpc.aio.ServerInterceptor]
    client_interceptors: Sequence[grpc.aio.ClientInterceptor]
    meter: Meter
    shutdown: Callable[[], None]


def build_telemetry(
    service: str, *, otlp_endpoint: str | None, metrics_host: str, metrics_port: int
) -> Telemetry:
    """Make the providers of one process.

    Spans always carry the trace id of the call; they are exported only when `otlp_endpoint` is
    given. Metrics are served for Prometheus on `metrics_host` and `metrics_port`, 0 for none.
    """
    resource = Resource.create({SERVICE_NAME: service})
    cleanup = ExitStack()
    tracers = TracerProvider(resource=resource)
    cleanup.callback(tracers.shutdown)
    if otlp_endpoint:
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint)))
    readers = []
    if metrics_port:
        readers.append(PrometheusMetricReader())
        server, _thread = start_http_server(metrics_port, addr=metrics_host)
        cleanup.callback(server.server_close)
        cleanup.callback(server.shutdown)
    meters = MeterProvider(resource=resource, metric_readers=readers)
    cleanup.callback(meters.shutdown)
    return Telemetry(
        server_interceptors=[aio_server_interceptor(tracer_provider=tracers)],
        client_interceptors=aio_client_interceptors(tracer_provider=tracers),
        meter=meters.get_meter("layer"),
        shutdown=cleanup.close,
    )
