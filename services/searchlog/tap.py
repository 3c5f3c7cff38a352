"""What Envoy's tap saw of a query, as a search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from envoyapi.data.accesslog.v3 import accesslog_pb2
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import IdGenerator, Namespace, parse_namespace
from services.formats.tags import parse_tags_leniently
from services.formats.trail_keys import LATEST_SERVED_NANOS, MIN_NANOS
from services.searchlog.captured_body import CapturedBody, read_captured_body
from services.searchlog.model import Search
from services.searchlog.request_body import RequestSummary, read_request
from services.searchlog.result_ids import Results, read_results
from services.searchlog.trace_ids import minted_trace_id, trace_id_of

__all__ = ["TAP_METADATA", "TapCounts", "TapReader"]

TAP_METADATA: Final = "layer.tap"
_QUERY_PATH = re.compile(r"/v[12]/namespaces/([^/?]+)/query")
_TAG_HEADERS: Final = ("x-hevlayer-tags", "x-hevlayer-tag")
_NOTHING_ASKED: Final = RequestSummary({}, None)
_NOTHING_FOUND: Final = Results((), None)

_Fields = Mapping[str, struct_pb2.Value]


@dataclass
class TapCounts:
    """What became of access-log entries so far."""

    entries: int = 0
    not_served: int = 0
    """Answered with something else than 2xx: not logged."""
    without_namespace: int = 0
    """Not logged: the path names no valid one."""
    unreadable_requests: int = 0
    """Logged without a summary."""
    unreadable_answers: int = 0
    """Logged without result ids."""
    bad_tags: int = 0
    failures: int = 0
    """Not logged for an unforeseen reason."""


class TapReader:
    """Reads access-log entries. Whatever cannot be read is counted, never raised."""

    def __init__(self, clock: Clock, new_id: IdGenerator) -> None:
        self.counts = TapCounts()
        self._clock = clock
        self._new_id = new_id

    def read(self, entry: accesslog_pb2.HTTPAccessLogEntry) -> Search | None:
        """The search; None when it was not served, or is no query of a namespace."""
        self.counts.entries += 1
        status = entry.response.response_code.value
        if not 200 <= status < 300:
            self.counts.not_served += 1
            return None
        metadata = entry.common_properties.metadata.filter_metadata
        # Copied once: each look into a protobuf map makes a new object.
        fields = dict(metadata[TAP_METADATA].fields.items()) if TAP_METADATA in metadata else {}
        namespace = _namespace(entry.request)
        if namespace is None:
            self.counts.without_namespace += 1
            return None
        headers = entry.request.request_headers
        tags, bad_tags = parse_tags_leniently(headers[n] for n in _TAG_HEADERS if n in headers)
        self.counts.bad_tags += bad_tags
        request = self._request(fields, headers)
        results = self._results(fields, entry.response.response_headers)
        served_ns, duration_ms = self._times(entry.common_properties)
        return Search(
            namespace=namespace,
            served_ns=served_ns,
            trace_id=trace_id_of(headers.get("traceparent", "")) or minted_trace_id(self._new_id),
            query=request.query,
            raw_query=headers.get("x-hevlayer-search-query", "").strip() or request.text,
            top_result_ids=results.ids,
            tags=tags,
            status=status,
            duration_ms=duration_ms,
            result_count=results.count,
        )

    def _request(self, fields: _Fields, headers: Mapping[str, str]) -> RequestSummary:
        body = _body(fields, "request", headers)
        request = None if body is None else read_request(body)
        if request is None:
            self.counts.unreadable_requests += 1
            return _NOTHING_ASKED
        return request

    def _results(self, fields: _Fields, headers: Mapping[str, str]) -> Results:
        body = _body(fields, "response", headers)
        results = None if body is None else read_results(body.data, complete=body.complete)
        if results is None:
            self.counts.unreadable_answers += 1
            return _NOTHING_FOUND
        return results

    def _times(self, common: accesslog_pb2.AccessLogCommon) -> tuple[int, float | None]:
        """When the last byte of the answer left, and how long that took."""
        started_ns = _nanos(common.start_time)
        taken_ns = None
        if common.HasField("time_to_last_downstream_tx_byte"):
            taken_ns = _nanos(common.time_to_last_downstream_tx_byte)
        elif common.HasField("duration"):
            taken_ns = _nanos(common.duration)
        served_ns = started_ns + (taken_ns or 0)
        if not MIN_NANOS <= served_ns <= LATEST_SERVED_NANOS:
            served_ns = self._clock.now_ns()
        return served_ns, None if taken_ns is None else round(taken_ns / 1e6, 3)


def _nanos(time: timestamp_pb2.Timestamp | duration_pb2.Duration) -> int:
    return time.seconds * 1_000_000_000 + time.nanos


def _namespace(request: accesslog_pb2.HTTPRequestProperties) -> Namespace | None:
    match = _QUERY_PATH.match(request.original_path or request.path)
    try:
        return parse_namespace(unquote(match[1]) if match else "")
    except LayerError:
        return None


def _body(fields: _Fields, name: str, headers: Mapping[str, str]) -> CapturedBody | None:
    captured = fields.get(f"{name}_b64")
    if captured is None:
        return None
    truncated = fields.get(f"{name}_truncated")
    return read_captured_body(
        captured.string_value,
        truncated=truncated is not None and truncated.bool_value,
        encoding=headers.get("content-encoding", ""),
    )
