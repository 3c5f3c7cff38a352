"""How much of a namespace can be warm at all: documents expire while others are still read."""

from __future__ import annotations

from dataclasses import dataclass

from services.core.errors import LayerError
from services.document.warm_state import WarmState

__all__ = ["WarmLimits"]


@dataclass(frozen=True)
class WarmLimits:
    """The settings of warm jobs.

    Args:
        ttl_seconds: how long a document is served after it was read.
        documents_per_second: rate at which a job reads documents, at most.
        margin_ms: between the start of the first read and the watermark.
    """

    ttl_seconds: float
    documents_per_second: float
    margin_ms: int

    def check_size(self, expected: int) -> None:
        """Refuse a namespace of which the first documents expire before the last are read.

        Raises:
            LayerError: VALIDATION.
        """
        possible = self.ttl_seconds * self.documents_per_second
        if expected > possible:
            raise LayerError.validation(
                f"the namespace has about {expected:,} documents, and no more than "
                f"{possible:,.0f} can be warm: {self._settings()}"
            )

    def check_time(self, state: WarmState, now_ms: int, expected: int) -> None:
        """End a job when its first document has expired.

        Raises:
            LayerError: VALIDATION.
        """
        if state.left_seconds(now_ms, self.ttl_seconds) <= 0:
            raise LayerError.validation(
                f"{state.documents:,} of about {max(expected, state.documents):,} documents were "
                f"read when the first one expired: {self._settings()}"
            )

    def can_finish(self, state: WarmState, now_ms: int, expected: int) -> bool:
        """Whether the rest of the documents can be read before the first ones expire."""
        rest = max(expected - state.documents, 0)
        left = state.left_seconds(now_ms, self.ttl_seconds)
        return left > rest / self.documents_per_second

    def _settings(self) -> str:
        return (
            f"documents are kept for LAYER_DOCUMENT_TTL_SECONDS ({self.ttl_seconds:g}; 3600 at "
            "most) and read at LAYER_WARM_DOCUMENTS_PER_SECOND "
            f"({self.documents_per_second:g}) at most; raise what is too small"
        )
