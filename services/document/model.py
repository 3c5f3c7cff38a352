"""Documents, and a fetch that is to be recorded."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from services.core.ids import Namespace

__all__ = ["Document", "Fetch", "FetchedDocuments"]


@dataclass(frozen=True)
class Document:
    """A document without its vectors. The id is in its text form."""

    id: str
    attributes: Mapping[str, Any]


class CacheUse(enum.StrEnum):
    """What the cache had of the ids that were asked for; the values of `x-layer-cache`."""

    HIT = "hit"
    PARTIAL = "partial"
    MISS = "miss"
    MISS_ON_ERROR = "miss-on-error"
    """The cache could not be asked."""


@dataclass(frozen=True)
class FetchedDocuments:
    """What was found, in the order of the ids, and what was not."""

    documents: Sequence[Document]
    missing: Sequence[str]
    cached_ids: Set[str] = frozenset()
    """Those of the documents that the cache had."""
    cache_use: CacheUse = CacheUse.MISS


@dataclass(frozen=True)
class Fetch:
    """One document that was answered within a caller's trace."""

    namespace: Namespace
    trace_id: str
    doc_id: str
    tags: tuple[str, ...]
    served_from: str
    served_at_ns: int
