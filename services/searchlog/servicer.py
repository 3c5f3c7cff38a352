"""SearchLogService's RPCs: parse, one call, build the reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import grpc
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc

from services.core.ids import parse_namespace
from services.edge.limits import page_limit
from services.formats.trail import ClickstreamEvent, SearchEntry
from services.formats.trail_keys import TrailKind
from services.searchlog.messages import MessageParser, ack_level, event_message, search_message
from services.searchlog.model import Stream
from services.searchlog.page_query import PageQuery, parse_page_query
from services.searchlog.read_trail import ReadTrail
from services.searchlog.record_batches import BatchOutcome, RecordBatches

__all__ = ["SearchLogServicer"]

_Context = grpc.aio.ServicerContext[object, object]


class SearchLogServicer(searchlog_pb2_grpc.SearchLogServiceServicer):
    """The gRPC face of the trail."""

    def __init__(self, read: ReadTrail, record: RecordBatches, parser: MessageParser) -> None:
        self._read = read
        self._record = record
        self._parser = parser

    async def ListSearchHistory(
        self, request: pb.ListSearchHistoryRequest, context: _Context
    ) -> pb.ListSearchHistoryResponse:
        stream = Stream(TrailKind.SEARCHES, parse_namespace(request.namespace))
        page = await self._read(stream, SearchEntry, _page_query(request))
        return pb.ListSearchHistoryResponse(
            entries=map(search_message, page.entries), next_cursor=_cursor(page.next_cursor)
        )

    async def ListClickstream(
        self, request: pb.ListClickstreamRequest, context: _Context
    ) -> pb.ListClickstreamResponse:
        stream = Stream(TrailKind.CLICKS, parse_namespace(request.namespace))
        trace_id = request.trace_id if request.HasField("trace_id") else None
        page = await self._read(stream, ClickstreamEvent, _page_query(request, trace_id))
        return pb.ListClickstreamResponse(
            events=map(event_message, page.entries), next_cursor=_cursor(page.next_cursor)
        )

    async def RecordSearches(
        self, request_iterator: AsyncIterator[pb.RecordSearchesRequest], context: _Context
    ) -> AsyncIterator[pb.RecordSearchesResponse]:
        async for request in request_iterator:
            outcome = await self._record.searches(
                (partial(self._parser.search, record) for record in request.searches),
                ack_level(request.ack_level),
            )
            yield pb.RecordSearchesResponse(accepted=outcome.accepted, errors=_errors(outcome))

    async def RecordFetches(
        self, request_iterator: AsyncIterator[pb.RecordFetchesRequest], context: _Context
    ) -> AsyncIterator[pb.RecordFetchesResponse]:
        async for request in request_iterator:
            outcome = await self._record.fetches(
                (partial(self._parser.fetch, record) for record in request.fetches),
                ack_level(request.ack_level),
            )
            yield pb.RecordFetchesResponse(accepted=outcome.accepted, errors=_errors(outcome))


def _page_query(
    request: pb.ListSearchHistoryRequest | pb.ListClickstreamRequest, trace_id: str | None = None
) -> PageQuery:
    # `from` is a keyword of Python.
    return parse_page_query(
        limit=page_limit(request.limit if request.HasField("limit") else None),
        tags=request.tag,
        from_=getattr(request, "from") if request.HasField("from") else None,
        to=request.to if request.HasField("to") else None,
        before=request.before if request.HasField("before") else None,
        trace_id=trace_id,
    )


def _cursor(nanos: int | None) -> str | None:
    return None if nanos is None else str(nanos)


def _errors(outcome: BatchOutcome) -> list[pb.RecordError]:
    return [pb.RecordError(index=index, message=text) for index, text in outcome.errors.items()]
