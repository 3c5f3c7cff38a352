"""DocumentService as the warm count sees it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
from layer.document.v2 import document_pb2 as pb
from layer.document.v2 import document_pb2_grpc

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.edge.status import ERROR_CODE_METADATA
from services.snapshot.count_warm import WarmScan

__all__ = ["DocumentClient"]

_logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS: Final = 300.0
"""For all documents together; the cache keeps them no longer by default."""


class DocumentClient:
    """Reads warm documents by `ReadWarmDocuments`."""

    def __init__(self, channel: grpc.aio.Channel, api_key: str | None) -> None:
        self._stub = document_pb2_grpc.DocumentServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()

    async def open(self, namespace: Namespace) -> WarmScan:
        """Start reading. Every failure is CACHE_COLD: the origin can still be counted."""
        call: Any = self._stub.ReadWarmDocuments(
            pb.ReadWarmDocumentsRequest(namespace=namespace),
            timeout=_TIMEOUT_SECONDS,
            # By which a gateway in between finds the replica that fetches go to: the others do
            # not know whether what is cached is true.
            metadata=(*self._metadata, ("x-layer-namespace", namespace)),
        )
        parts = _parts(call, namespace)
        first = await anext(parts, None)
        if first is None or not first.HasField("summary"):
            call.cancel()
            raise _cold(namespace)
        summary = first.summary

        async def pages() -> AsyncIterator[bytes]:
            async for part in parts:
                yield part.rows

        return WarmScan(
            summary.documents, summary.stable_as_of, dict(summary.types), pages(), call.cancel
        )


async def _parts(call: Any, namespace: Namespace) -> AsyncIterator[pb.ReadWarmDocumentsResponse]:  # noqa: ANN401
    try:
        async for part in call:
            yield part
    except grpc.aio.AioRpcError as error:
        if not _says_cold(error):
            # What callers take for a cold cache may be a wrong address or key.
            _logger.warning(
                "warm documents not read",
                extra={"namespace": namespace, "code": error.code().name, "cause": error.details()},
            )
        raise _cold(namespace) from error


def _says_cold(error: grpc.aio.AioRpcError) -> bool:
    trailing = error.trailing_metadata() or ()
    return (ERROR_CODE_METADATA, ErrorKind.CACHE_COLD.value) in [tuple(pair) for pair in trailing]


def _cold(namespace: Namespace) -> LayerError:
    return LayerError(
        ErrorKind.CACHE_COLD,
        f"the document cache of {namespace!r} is not warm; warm it, or use source origin",
    )
