"""A query's request body, from a capture that may have been cut."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import ijson
import msgspec
from ijson.common import ObjectBuilder

from services.searchlog.captured_body import CapturedBody
from services.searchlog.elide_arrays import ElidedJson, elide
from services.searchlog.query_summary import find_query_text, summarise_query

__all__ = ["RequestSummary", "read_request"]

_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])


class RequestSummary(NamedTuple):
    """What is kept of a request."""

    query: Mapping[str, Any]
    text: str | None
    """The BM25 text."""


def read_request(body: CapturedBody) -> RequestSummary | None:
    """The summary; of a cut body, that of its beginning. None when it is no JSON object."""
    elided = elide(body.data)
    try:
        request = _OBJECT.decode(elided.text) if body.complete else _decode_prefix(elided)
        if request is None:
            return None
        return RequestSummary(summarise_query(request, elided), find_query_text(request))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decode_prefix(elided: ElidedJson) -> dict[str, Any] | None:
    """The object up to where the text ends."""
    builder = ObjectBuilder()
    try:
        for event, value in ijson.basic_parse(io.BytesIO(elided.text), use_float=True):
            builder.event(event, value)
    except ijson.JSONError:
        pass
    request = getattr(builder, "value", None)
    return request if isinstance(request, dict) else None
