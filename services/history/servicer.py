"""HistoryService's RPCs: parse, one call, build the reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
from layer.history.v2 import history_pb2 as pb
from layer.history.v2 import history_pb2_grpc

from services.archive.read_snapshots import SnapshotReader
from services.core.errors import LayerError
from services.core.ids import parse_namespace
from services.edge.limits import page_limit
from services.formats.snapshot_body import SnapshotBody
from services.history.list_activity import ListActivity

__all__ = ["HistoryServicer"]

_Context = grpc.aio.ServicerContext[object, object]


class HistoryServicer(history_pb2_grpc.HistoryServiceServicer):
    """The gRPC face of the snapshot archive."""

    def __init__(self, reader: SnapshotReader, list_activity: ListActivity) -> None:
        self._reader = reader
        self._list_activity = list_activity

    async def ListHistory(
        self, request: pb.ListHistoryRequest, context: _Context
    ) -> AsyncIterator[pb.HistoryEntry]:
        namespace = parse_namespace(request.namespace)
        limit = page_limit(request.limit if request.HasField("limit") else None)
        before = (
            await self._reader.resolve(namespace, request.before)
            if request.HasField("before")
            else None
        )
        for ref in await self._reader.page(namespace, limit=limit, before=before):
            yield pb.HistoryEntry(watermark_ms=ref.watermark_ms, sha=ref.sha)

    async def GetSnapshot(
        self, request: pb.GetSnapshotRequest, context: _Context
    ) -> pb.SnapshotBody:
        namespace = parse_namespace(request.namespace)
        body = await self._reader.body(await self._reader.resolve(namespace, request.sha))
        if body is None:
            # Retention deleted it between the two reads.
            raise LayerError.not_found(f"snapshot {request.sha!r} is no longer kept")
        # Off the loop: a body of many values takes a tenth of a second to turn into a message.
        return await asyncio.to_thread(_body_message, body)

    async def ListSnapshotActivity(
        self, request: pb.ListSnapshotActivityRequest, context: _Context
    ) -> pb.ListSnapshotActivityResponse:
        page = await self._list_activity(
            since_ms=request.since if request.HasField("since") else None,
            limit=page_limit(request.limit if request.HasField("limit") else None),
            namespace=parse_namespace(request.namespace) if request.HasField("namespace") else None,
            cursor=request.cursor if request.HasField("cursor") else None,
        )
        events = [
            pb.SnapshotActivityEvent(ts_ms=ref.watermark_ms, namespace=ref.namespace, sha=ref.sha)
            for ref in page.events
        ]
        return pb.ListSnapshotActivityResponse(events=events, next_cursor=page.next_cursor)


def _body_message(body: SnapshotBody) -> pb.SnapshotBody:
    message = pb.SnapshotBody(
        namespace=body.namespace,
        watermark_ms=body.watermark_ms,
        sha=body.sha,
        row_count=body.row_count,
        fields_skipped=[
            pb.SkippedField(
                name=field.name,
                reason=field.reason,
                distinct_observed=field.distinct_observed,
                cap=field.cap,
            )
            for field in body.fields_skipped
        ],
    )
    for field in body.fields:
        # Made in place: a list of messages is copied into its owner, at three times the cost.
        add = message.fields.add(name=field.name).values.add
        for value in field.values:
            add(v=value.v, n=value.n)
    return message
