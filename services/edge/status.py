"""The one place that knows gRPC codes: failure kinds to statuses.

Envoy's Lua filter derives the HTTP status from the code in `ERROR_CODE_METADATA`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc

from services.core.errors import ErrorKind

__all__ = ["ERROR_CODE_METADATA", "GRPC_STATUS", "HTTP_STATUS_METADATA"]

ERROR_CODE_METADATA: Final = "x-error-code"
"""Trailing metadata of a failed call: the exact `error` code of the public body."""

HTTP_STATUS_METADATA: Final = "x-http-status"
"""Initial metadata of a call that succeeds with another HTTP status than 200."""

GRPC_STATUS: Final[Mapping[ErrorKind, grpc.StatusCode]] = {
    ErrorKind.VALIDATION: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.CACHE_COLD: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.UPSTREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.PAYLOAD_TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}
