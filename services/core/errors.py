"""The one table of failure kinds.

A kind is chosen by what the *caller* can do about it, not by where the failure happened.
`services.edge.status` turns a kind into a gRPC status; Envoy turns that into HTTP.
"""

from __future__ import annotations

import enum

__all__ = ["ErrorKind", "LayerError"]


class ErrorKind(enum.Enum):
    """Why a call failed; the value is the `error` code of the public error body."""

    VALIDATION = "validation_error"
    """The request can never succeed as it is: the caller must change it."""
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CACHE_COLD = "cache_cold"
    """The document cache cannot answer now; another source may."""
    UNAVAILABLE = "service_unavailable"
    """Nothing is wrong with the request: try again later."""
    UPSTREAM = "upstream_error"
    """Turbopuffer answered with an error or not at all."""
    TOO_MANY_REQUESTS = "too_many_requests"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    TIMEOUT = "timeout"
    NOT_IMPLEMENTED = "not_implemented"
    INTERNAL = "internal"


class LayerError(Exception):
    """A failure with a kind and a sentence that its caller may read.

    The message must hold no secret and no stack trace; the cause is chained for the logs.
    """

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    @classmethod
    def validation(cls, message: str) -> LayerError:
        return cls(ErrorKind.VALIDATION, message)

    @classmethod
    def not_found(cls, message: str) -> LayerError:
        return cls(ErrorKind.NOT_FOUND, message)
