"""Between protobuf messages and the service's own types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import json_format, struct_pb2
from layer.searchlog.v2 import searchlog_pb2 as pb

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import IdGenerator, parse_namespace
from services.edge.values import SAFE_INTEGER, to_struct
from services.formats.tags import parse_tags_strictly
from services.formats.trail import ClickstreamEvent, SearchEntry
from services.formats.trail_keys import LATEST_SERVED_NANOS, MIN_NANOS
from services.searchlog.model import AckLevel, Fetch, Search
from services.searchlog.query_summary import find_query_text, summarise_query
from services.searchlog.result_ids import MAX_IDS
from services.searchlog.trace_ids import minted_trace_id, parse_trace_id

__all__ = ["MessageParser", "ack_level", "event_message", "search_message"]

_ACK_LEVELS: Final[dict[int, AckLevel]] = {
    pb.ACK_LEVEL_UNSPECIFIED: AckLevel.FSYNCED,
    pb.ACK_LEVEL_RECEIVED: AckLevel.RECEIVED,
    pb.ACK_LEVEL_FSYNCED: AckLevel.FSYNCED,
    pb.ACK_LEVEL_STORED: AckLevel.STORED,
}
_SERVED_FROM: Final = ("cache", "upstream")


def ack_level(level: int) -> AckLevel:
    """The level of a request.

    Raises:
        LayerError: VALIDATION, a level that this service does not know.
    """
    try:
        return _ACK_LEVELS[level]
    except KeyError:
        raise LayerError.validation(f"ack_level {level} is unknown") from None


class MessageParser:
    """Checks records. Each method raises LayerError, VALIDATION, that says what is wrong."""

    def __init__(self, clock: Clock, new_id: IdGenerator) -> None:
        self._clock = clock
        self._new_id = new_id

    def search(self, record: pb.SearchRecord) -> Search:
        query = _query(record.query)
        return Search(
            namespace=parse_namespace(record.namespace),
            served_ns=self._served_ns(record.timestamp_nanos),
            trace_id=(
                parse_trace_id(record.trace_id)
                if record.trace_id
                else minted_trace_id(self._new_id)
            ),
            raw_query=record.raw_query if record.HasField("raw_query") else find_query_text(query),
            query=summarise_query(query),
            top_result_ids=tuple(record.top_result_ids[:MAX_IDS]),
            tags=_record_tags(record.tags),
            status=record.status if record.HasField("status") else None,
            duration_ms=record.duration_ms if record.HasField("duration_ms") else None,
            result_count=record.result_count if record.HasField("result_count") else None,
        )

    def fetch(self, record: pb.FetchRecord) -> Fetch:
        if not record.doc_id:
            raise LayerError.validation("doc_id is required")
        if record.served_from not in _SERVED_FROM:
            raise LayerError.validation("served_from must be cache or upstream")
        return Fetch(
            namespace=parse_namespace(record.namespace),
            served_ns=self._served_ns(record.timestamp_nanos),
            trace_id=parse_trace_id(record.trace_id),
            doc_id=record.doc_id,
            served_from="cache" if record.served_from == "cache" else "upstream",
            tags=_record_tags(record.tags),
        )

    def _served_ns(self, nanos: int) -> int:
        if nanos == 0:
            return self._clock.now_ns()
        if not MIN_NANOS <= nanos <= LATEST_SERVED_NANOS:
            raise LayerError.validation(
                "timestamp_nanos must be epoch nanoseconds between 2001-09-09 and 2262-04-11"
            )
        return nanos


def search_message(entry: SearchEntry) -> pb.SearchHistoryEntry:
    """The entry as it is listed."""
    return pb.SearchHistoryEntry(
        timestamp=entry.timestamp,
        timestamp_nanos=entry.timestamp_nanos,
        namespace=entry.namespace,
        trace_id=entry.trace_id,
        raw_query=entry.raw_query,
        query=to_struct(entry.query),
        top_result_ids=entry.top_result_ids,
        tags=entry.tags,
        status=entry.status,
        duration_ms=entry.duration_ms,
        result_count=entry.result_count,
    )


def event_message(event: ClickstreamEvent) -> pb.ClickstreamEvent:
    """The event as it is listed."""
    return pb.ClickstreamEvent(
        timestamp=event.timestamp,
        timestamp_nanos=event.timestamp_nanos,
        trace_id=event.trace_id,
        namespace=event.namespace,
        doc_id=event.doc_id,
        tags=event.tags,
        source=event.source,
        served_from=event.served_from,
    )


def _query(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The request; whole numbers become integers again, as far as doubles hold them."""
    try:
        query: dict[str, Any] = json_format.MessageToDict(struct)
    except (json_format.Error, ValueError):
        raise LayerError.validation("query holds a number that is not finite") from None
    return {name: _with_integers(value) for name, value in query.items()}


def _with_integers(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float) and value.is_integer() and abs(value) <= SAFE_INTEGER:
        return int(value)
    if isinstance(value, list):
        return [_with_integers(element) for element in value]
    if isinstance(value, dict):
        return {name: _with_integers(element) for name, element in value.items()}
    return value


def _record_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """One tag an element: a comma is a bad character here, not a separator."""
    if any("," in tag for tag in tags):
        raise LayerError.validation("a tag holds no comma; send each as an element of its own")
    return parse_tags_strictly(tags)
