"""Page limits, the same for every list call."""

from __future__ import annotations

from typing import Final

from services.core.errors import LayerError

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "page_limit"]

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500


def page_limit(requested: int | None) -> int:
    """The limit in force: 50 unless asked, 500 at most.

    Raises:
        LayerError: VALIDATION, not positive.
    """
    if requested is None:
        return DEFAULT_LIMIT
    if requested < 1:
        raise LayerError.validation("limit must be 1 or more")
    return min(requested, MAX_LIMIT)
