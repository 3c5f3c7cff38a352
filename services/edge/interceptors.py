"""Interceptors around every RPC: keys first, then one translation of failures.

A handler raises; it never aborts. So a failure has one way out, and what leaves holds neither a
stack trace nor the text of an exception that was not written for the caller.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError
from grpc.aio import ServerInterceptor, ServicerContext

from services.core.errors import ErrorKind, LayerError
from services.edge.call_metrics import CallMetrics
from services.edge.status import ERROR_CODE_METADATA, GRPC_STATUS

__all__ = ["ApiKeyInterceptor", "ErrorInterceptor"]

_logger = logging.getLogger(__name__)

Handler = Any  # grpc.RpcMethodHandler, whose behaviours have no static type
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


class ErrorInterceptor(ServerInterceptor):
    """Turns `LayerError` into its status and anything else into a fixed INTERNAL; counts both."""

    def __init__(self, calls: CallMetrics) -> None:
        self._calls = calls

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        return _wrapped(handler, handler_call_details.method, self._calls)


class ApiKeyInterceptor(ServerInterceptor):
    """Asks for `authorization: Bearer <key>` on every method but the health service's.

    The keys are compared in constant time (`hmac.compare_digest`), each of them, always.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        if handler_call_details.method.startswith("/grpc.health.v1.Health/"):
            return await continuation(handler_call_details)
        metadata = dict(handler_call_details.invocation_metadata)
        if self._allowed(str(metadata.get("authorization", ""))):
            return await continuation(handler_call_details)
        handler = await continuation(handler_call_details)
        return None if handler is None else _refusing(handler)

    def _allowed(self, header: str) -> bool:
        scheme, _, given = header.partition(" ")
        matches = [hmac.compare_digest(given.strip().encode(), key) for key in self._keys]
        return scheme.lower() == "bearer" and any(matches)


def _wrapped(handler: Handler, method: str, calls: CallMetrics) -> Handler:
    """The same handler, with failures translated and its calls timed.

    A single request is deserialized in here, so that one which nests deeper than protobuf reads
    is the caller's fault and not ours.
    """
    deserializer = handler.request_deserializer
    parse = _parser(deserializer) if not handler.request_streaming else _unchanged
    if not handler.request_streaming:
        deserializer = None
    if handler.response_streaming:
        inner_stream = handler.unary_stream or handler.stream_stream

        async def stream(request: Any, context: ServicerContext[Any, Any]) -> AsyncIterator[Any]:  # noqa: ANN401
            with calls.timed(method, context):
                try:
                    async for response in inner_stream(parse(request), context):
                        yield response
                except Exception as error:  # noqa: BLE001 - the outermost frame: all ends here
                    await _leave(error, context, method)

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make(stream, deserializer, handler.response_serializer)

    inner_unary = handler.unary_unary or handler.stream_unary

    async def unary(request: Any, context: ServicerContext[Any, Any]) -> Any:  # noqa: ANN401
        with calls.timed(method, context):
            try:
                return await inner_unary(parse(request), context)
            except Exception as error:  # noqa: BLE001 - the outermost frame: all ends here
                await _leave(error, context, method)

    make_unary = (
        grpc.stream_unary_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make_unary(unary, deserializer, handler.response_serializer)


def _parser(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> Any:  # noqa: ANN401 - any request message
        try:
            return deserialize(data)
        except DecodeError as error:
            raise LayerError.validation("the request is malformed or nests too deep") from error

    return parse


def _unchanged(request: Any) -> Any:  # noqa: ANN401 - an iterator of requests
    return request


def _refusing(handler: Handler) -> Handler:
    """A handler of the same form that refuses every call."""

    async def stream(request: Any, context: ServicerContext[Any, Any]) -> AsyncIterator[Any]:  # noqa: ANN401
        raise LayerError(ErrorKind.UNAUTHORIZED, "a valid API key is required")
        yield

    async def unary(request: Any, context: ServicerContext[Any, Any]) -> Any:  # noqa: ANN401
        raise LayerError(ErrorKind.UNAUTHORIZED, "a valid API key is required")

    factories = {
        (False, False): (grpc.unary_unary_rpc_method_handler, unary),
        (False, True): (grpc.unary_stream_rpc_method_handler, stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, unary),
        (True, True): (grpc.stream_stream_rpc_method_handler, stream),
    }
    make, behaviour = factories[(handler.request_streaming, handler.response_streaming)]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


async def _leave(error: Exception, context: ServicerContext[Any, Any], method: str) -> NoReturn:
    """Abort with the status of a failure."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, LayerError):
        kind, message = error.kind, error.message
        if error.__cause__ is not None and kind is not ErrorKind.VALIDATION:
            _logger.warning(
                "call failed",
                extra={"method": method, "error": kind.value, "cause": repr(error.__cause__)},
            )
    elif isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        kind, message = ErrorKind.TIMEOUT, "the call took too long"
    else:
        kind, message = ErrorKind.INTERNAL, "internal error; the service's log has the details"
        _logger.error("unhandled failure", extra={"method": method}, exc_info=error)
    await context.abort(
        GRPC_STATUS[kind], message, trailing_metadata=((ERROR_CODE_METADATA, kind.value),)
    )
