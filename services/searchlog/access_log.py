"""Envoy's access-log stream: the query tap's way in."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import grpc
from envoyapi.service.accesslog.v3 import als_pb2, als_pb2_grpc

from services.searchlog.model import AckLevel
from services.searchlog.record import Recorder
from services.searchlog.tap import TapReader

__all__ = ["AccessLogServicer"]

_logger = logging.getLogger(__name__)
_Context = grpc.aio.ServicerContext[object, object]


class AccessLogServicer(als_pb2_grpc.AccessLogServiceServicer):
    """Records each tapped query. Nothing that an entry holds can end the stream."""

    def __init__(self, tap: TapReader, recorder: Recorder) -> None:
        self._tap = tap
        self._recorder = recorder

    async def StreamAccessLogs(
        self,
        request_iterator: AsyncIterator[als_pb2.StreamAccessLogsMessage],
        context: _Context,
    ) -> als_pb2.StreamAccessLogsResponse:
        async for message in request_iterator:
            for entry in message.http_logs.log_entry:
                try:
                    search = self._tap.read(entry)
                    if search is not None:
                        self._recorder.search(search, AckLevel.RECEIVED)
                except Exception:
                    self._tap.counts.failures += 1
                    _logger.exception("cannot log a query")
        return als_pb2.StreamAccessLogsResponse()
