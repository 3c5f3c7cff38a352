"""`GET /v2/activity/snapshots`: a page of the feed, and its cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from services.archive.read_snapshots import SnapshotReader
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_keys import SnapshotRef

__all__ = ["ActivityPage", "ListActivity"]


@dataclass(frozen=True)
class ActivityPage:
    """Events, newest first; the cursor of the next page, None on the last."""

    events: Sequence[SnapshotRef]
    next_cursor: str | None


class ListActivity:
    """One LIST a page. The cursor is the last event's key, so it belongs to one feed."""

    def __init__(self, reader: SnapshotReader) -> None:
        self._reader = reader

    async def __call__(
        self, *, since_ms: int | None, limit: int, namespace: Namespace | None, cursor: str | None
    ) -> ActivityPage:
        """A page of at most `limit` events.

        Raises:
            LayerError: VALIDATION, `since` absent or negative, or a cursor of another feed.
        """
        if since_ms is None:
            raise LayerError.validation("since is required: epoch milliseconds")
        if since_ms < 0:
            raise LayerError.validation("since must be 0 or more epoch milliseconds")
        after = _parse_cursor(cursor, namespace) if cursor else ""
        # One more than asked tells whether there is a next page, at no further request.
        refs = await self._reader.activity(
            since_ms=since_ms, limit=limit + 1, after=after, namespace=namespace
        )
        events = refs[:limit]
        more = len(refs) > limit
        return ActivityPage(events, _cursor(events[-1], namespace) if more else None)


def _cursor(ref: SnapshotRef, namespace: Namespace | None) -> str:
    key = keys.body_key(ref) if namespace else keys.activity_key(ref)
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _parse_cursor(cursor: str, namespace: Namespace | None) -> str:
    """The key to list after; only a key of this very feed is accepted."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        key = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        key = ""
    ref = keys.parse_body_key(namespace, key) if namespace else keys.parse_activity_key(key)
    if ref is None or key != (keys.body_key(ref) if namespace else keys.activity_key(ref)):
        raise LayerError.validation("cursor is not a next_cursor of this feed")
    return key
