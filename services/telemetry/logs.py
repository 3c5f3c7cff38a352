"""Structured logs: one JSON object a line on standard error."""

from __future__ import annotations

import logging
import sys

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

__all__ = ["configure_logging"]


class _TraceFilter(logging.Filter):
    """Adds the trace id of the call that logs, when there is one."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            record.trace_id = trace.format_trace_id(context.trace_id)
        return True


def configure_logging(level: str, *, service: str) -> None:
    """Send this process's logs to standard error as JSON lines.

    Fields: `timestamp` (RFC 3339, UTC), `level`, `logger`, `message`, `service`, `trace_id` within
    a call, and what the log call adds.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp=True,
            static_fields={"service": service},
        )
    )
    handler.addFilter(_TraceFilter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These log each request at INFO.
    for noisy in ("httpx", "httpx2", "aiobotocore", "botocore", "turbopuffer"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
