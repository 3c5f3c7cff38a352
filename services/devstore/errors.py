"""Failures in Turbopuffer's shape: `{"status": "error", "error": <message>}`."""

from __future__ import annotations

__all__ = ["DevstoreError"]


class DevstoreError(Exception):
    """A request that cannot be carried out, and the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def body(self) -> dict[str, str]:
        """Of the answer."""
        return {"status": "error", "error": self.message}

    @classmethod
    def bad_request(cls, message: str) -> DevstoreError:
        return cls(400, message)

    @classmethod
    def unsupported(cls, what: str) -> DevstoreError:
        """Turbopuffer has it; this store has not."""
        return cls(400, f"the development store has no {what}")

    @classmethod
    def not_found(cls, namespace: str) -> DevstoreError:
        return cls(404, f"🤷 namespace '{namespace}' was not found")

    @classmethod
    def unreadable(cls, message: str) -> DevstoreError:
        return cls(422, f"Failed to deserialize the JSON body into the target type: {message}")
