"""W3C trace ids (w3.org/TR/trace-context): 32 hexadecimal digits, not all zero."""

from __future__ import annotations

import re

from services.core.errors import LayerError
from services.core.ids import IdGenerator

__all__ = ["minted_trace_id", "parse_trace_id", "trace_id_of"]

_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)


def parse_trace_id(text: str) -> str:
    """A trace id, in lowercase.

    Raises:
        LayerError: VALIDATION.
    """
    trace_id = text.lower()
    if not _TRACE_ID.fullmatch(trace_id):
        raise LayerError.validation("trace_id must be 32 hexadecimal digits, not all zero")
    return trace_id


def trace_id_of(traceparent: str) -> str | None:
    """The trace id of a `traceparent` header; None when it is not valid."""
    match = _TRACEPARENT.match(traceparent.strip())
    return match[1] if match else None


def minted_trace_id(new_id: IdGenerator) -> str:
    """A new trace id: the 128 bits of a random UUID."""
    return new_id().replace("-", "")
