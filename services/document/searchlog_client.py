"""SearchLogService as the recorder sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc

from services.core.errors import ErrorKind, LayerError
from services.document.model import Fetch

__all__ = ["SearchLogClient"]

_TIMEOUT_SECONDS: Final = 10.0


class SearchLogClient:
    """Sends fetches by `RecordFetches`, acknowledged when they are on disk there."""

    def __init__(self, channel: grpc.aio.Channel, api_key: str | None) -> None:
        self._stub = searchlog_pb2_grpc.SearchLogServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()

    async def send(self, fetches: Sequence[Fetch]) -> None:
        """One batch.

        Raises:
            LayerError: UNAVAILABLE; the batch may have been kept, and is then kept twice.
        """
        request = pb.RecordFetchesRequest(
            fetches=[
                pb.FetchRecord(
                    namespace=fetch.namespace,
                    timestamp_nanos=fetch.served_at_ns,
                    trace_id=fetch.trace_id,
                    doc_id=fetch.doc_id,
                    tags=fetch.tags,
                    served_from=fetch.served_from,
                )
                for fetch in fetches
            ],
            ack_level=pb.ACK_LEVEL_FSYNCED,
        )
        try:
            call = self._stub.RecordFetches(
                iter([request]), timeout=_TIMEOUT_SECONDS, metadata=self._metadata
            )
            async for _answer in call:
                pass
        except grpc.aio.AioRpcError as error:
            raise LayerError(
                ErrorKind.UNAVAILABLE, f"SearchLogService answered {error.code().name}"
            ) from error
