"""The life cycle of a gRPC server: start, serve, drain.

Health says NOT_SERVING until the service's own start has finished and from the moment SIGTERM
arrives; then the service's own work and running calls get `drain_seconds` to end, and what the
service holds is closed last.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.core.errors import LayerError
from services.edge.call_metrics import CallMetrics
from services.edge.interceptors import ApiKeyInterceptor, ErrorInterceptor
from services.edge.settings import ServerSettings, load_settings, parse_keys
from services.telemetry.logs import configure_logging
from services.telemetry.providers import Telemetry, build_telemetry

__all__ = ["MAX_MESSAGE_BYTES", "Service", "run_server"]

_logger = logging.getLogger(__name__)

_LAST_CALLS_SECONDS: Final = 1.0
"""For calls that came in while the service drained."""

MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""Largest gRPC message: a body with many fields, or a burst of access-log entries."""


@dataclass(frozen=True)
class Service:
    """What a deployable offers: how to add its servicers, and their full proto names."""

    register: Callable[[grpc.aio.Server], None]
    names: Sequence[str]
    drain: Callable[[float], Awaitable[None]] | None = None
    """Ends work that no call waits for, in about that many seconds, while calls are answered."""


SettingsT = TypeVar("SettingsT", bound=ServerSettings)
Build = Callable[[SettingsT, Telemetry], AbstractAsyncContextManager[Service]]


def run_server(
    name: str, settings_class: type[SettingsT], port_field: str, build: Build[SettingsT]
) -> None:
    """Run one deployable until SIGTERM or SIGINT. Exits with 2 on wrong settings, 1 when it
    cannot start; each is one line on standard error.

    Args:
        name: the deployable's name in logs and traces.
        settings_class: what it reads from the environment.
        port_field: the field of the settings that holds its port.
        build: makes the service from settings; closing the context closes what it holds.
    """
    settings = load_settings(settings_class)
    configure_logging(settings.log_level, service=name)
    try:
        keys = parse_keys(settings.gateway_api_key)
    except (OSError, ValueError) as error:
        print(f"LAYER_GATEWAY_API_KEY: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    address = f"{settings.host}:{getattr(settings, port_field)}"
    try:
        uvloop.run(_serve(name, settings, address, keys, build))
    except (LayerError, OSError, RuntimeError, ExceptionGroup) as error:
        _logger.exception("cannot run")
        print(f"{name}: {_reason(error)}", file=sys.stderr)
        raise SystemExit(1) from None


def _reason(error: Exception) -> Exception:
    """What made it end; where background loops failed, the first of them."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve(
    name: str,
    settings: SettingsT,
    address: str,
    keys: Sequence[str],
    build: Build[SettingsT],
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stopping.set)

    telemetry = build_telemetry(
        name,
        otlp_endpoint=settings.otlp_endpoint,
        metrics_host=settings.host,
        metrics_port=settings.metrics_port,
    )
    health_servicer = health.aio.HealthServicer()
    try:
        async with build(settings, telemetry) as service:
            server = _new_server(telemetry, keys)
            health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
            service.register(server)
            names = (*service.names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
            server.add_insecure_port(address)
            await server.start()
            for service_name in ("", *service.names):
                await health_servicer.set(service_name, health_pb2.HealthCheckResponse.SERVING)
            _logger.info("serving", extra={"address": address, "keys": len(keys)})
            await stopping.wait()
            _logger.info("draining", extra={"seconds": settings.drain_seconds})
            await health_servicer.enter_graceful_shutdown()
            await _drain(service, server, settings.drain_seconds)
    finally:
        telemetry.shutdown()
    _logger.info("stopped")


async def _drain(service: Service, server: grpc.aio.Server, seconds: float) -> None:
    """The service's work first: the calls that ask about it are still answered meanwhile."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    if service.drain is not None:
        await service.drain(seconds)
    left = seconds - (loop.time() - started)
    await server.stop(min(seconds, max(left, _LAST_CALLS_SECONDS)))


def _new_server(telemetry: Telemetry, keys: Sequence[str]) -> grpc.aio.Server:
    interceptors: list[grpc.aio.ServerInterceptor] = [
        *telemetry.server_interceptors,
        ErrorInterceptor(CallMetrics(telemetry.meter)),
    ]
    if keys:
        interceptors.append(ApiKeyInterceptor(keys))
    return grpc.aio.server(
        interceptors=interceptors,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            # Two processes on one port would share its calls at random.
            ("grpc.so_reuseport", 0),
        ],
    )
