"""Access-log entries as Envoy sends them for tapped queries."""

from __future__ import annotations

import base64
import json
from typing import Any

from envoyapi.data.accesslog.v3 import accesslog_pb2

__all__ = ["tapped_query"]

TRACEPARENT = "00-f81d4fae7dec11d0a76500a0c91e6bf6-00f067aa0ba902b7-01"


def tapped_query(
    *,
    path: str = "/v2/namespaces/products/query",
    request: Any = None,
    response: Any = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    response_headers: dict[str, str] | None = None,
    start_ns: int = 1_790_000_000_000_000_000,
    taken_ns: int | None = 12_345_678,
    request_truncated: bool = False,
    response_truncated: bool = False,
) -> accesslog_pb2.HTTPAccessLogEntry:
    """An entry; bodies are bytes, or any JSON value, or left out."""
    entry = accesslog_pb2.HTTPAccessLogEntry()
    entry.request.path = path
    entry.request.request_headers.update(
        {"traceparent": TRACEPARENT} if headers is None else headers
    )
    entry.response.response_code.value = status
    entry.response.response_headers.update(response_headers or {})
    common = entry.common_properties
    common.start_time.FromNanoseconds(start_ns)
    if taken_ns is not None:
        common.time_to_last_downstream_tx_byte.FromNanoseconds(taken_ns)
    tap = common.metadata.filter_metadata["layer.tap"]
    for name, body, truncated in (
        ("request", request, request_truncated),
        ("response", response, response_truncated),
    ):
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            tap[f"{name}_b64"] = base64.b64encode(data).decode()
            tap[f"{name}_truncated"] = truncated
    return entry
