"""Every stored object of the trails, in pages: for what must see all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from services.core.errors import LayerError
from services.core.ids import Namespace, parse_namespace
from services.formats.trail_keys import TrailKind, namespace_folder
from services.searchlog.model import Stream
from services.storage.object_store import ObjectStore

__all__ = ["key_pages", "list_namespaces", "streams_of"]

_LISTED: Final = 1000


async def list_namespaces(store: ObjectStore, kind: TrailKind) -> Sequence[Namespace]:
    """The namespaces with a trail of that kind, ascending; foreign folders are left out.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    return [
        namespace
        for child in await store.list_children(f"{kind.value}/")
        if (namespace := _namespace(child)) is not None
    ]


async def streams_of(store: ObjectStore, namespace: Namespace | None) -> Sequence[Stream]:
    """Both trails of a namespace, or of all.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    if namespace is not None:
        return [Stream(kind, namespace) for kind in TrailKind]
    return [Stream(kind, each) for kind in TrailKind for each in await list_namespaces(store, kind)]


async def key_pages(
    store: ObjectStore, stream: Stream, below: str = ""
) -> AsyncIterator[Sequence[str]]:
    """The keys of a trail, or of its folder `below`, ascending, a LIST at a time.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    prefix = namespace_folder(stream.kind, stream.namespace) + below
    after = ""
    while True:
        keys = await store.list(prefix, start_after=after, limit=_LISTED)
        if keys:
            yield keys
        if len(keys) < _LISTED:
            return
        after = keys[-1]


def _namespace(segment: str) -> Namespace | None:
    try:
        return parse_namespace(segment)
    except LayerError:
        return None
