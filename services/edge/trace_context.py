"""W3C Trace Context (w3.org/TR/trace-context) as gRPC metadata carries it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["TRACE_ORIGIN_METADATA", "caller_trace_id"]

TRACE_ORIGIN_METADATA: Final = "x-layer-trace-origin"
"""Set to `minted` by the gateway when the caller sent no trace of its own."""

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def caller_trace_id(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """The 32 hex digits of the trace that the *caller* sent; None when there is none, or when the
    gateway minted it for this very request."""
    values = {name: value for name, value in metadata if isinstance(value, str)}
    if values.get(TRACE_ORIGIN_METADATA) == "minted":
        return None
    match = _TRACEPARENT.match(values.get("traceparent", ""))
    return match[1] if match else None
