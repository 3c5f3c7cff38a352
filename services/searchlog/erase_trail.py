"""Erasure: entries that match are taken out of the objects that hold them.

An object never changes: what remains of it is written under the next free name, then the old one
is deleted. A crash between the two leaves some entries twice, which readers show once, and the
matching ones in the old object, which the next run finds and erases. Entries that no object holds
yet cannot be erased: a run after they are stored finds them. One erasure runs at a time
(`erasure_lock`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.cache.cache import Cache, CacheUnavailableError
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.formats.trail import split_lines
from services.formats.trail_keys import ObjectName, object_key, parse_object_key
from services.searchlog.matching_lines import LineFilter
from services.searchlog.model import Stream
from services.searchlog.page_query import PageQuery
from services.searchlog.walk_trail import key_pages, streams_of
from services.storage.object_store import ObjectStore

__all__ = ["EraseTrail", "Erased", "ErasureQuery"]

_PARALLEL: Final = 8
"""Objects read at the same time; each is some MiB at most."""
_MAX_NAMES: Final = 500
"""Names that are tried above the old one."""


@dataclass(frozen=True)
class ErasureQuery:
    """What to erase: entries that match all that is given. At least one part is given."""

    namespace: Namespace | None = None
    tags: frozenset[str] = frozenset()
    """All must be present."""
    trace_id: str | None = None

    def __post_init__(self) -> None:
        if self.namespace is None and not self.selects:
            raise LayerError.validation("name a tag, a trace id or a namespace to erase")

    @property
    def selects(self) -> bool:
        """Some entries of a trail; else all of them."""
        return bool(self.tags or self.trace_id)


@dataclass
class Erased:
    """What a run did, or would have done."""

    objects_read: int = 0
    objects_rewritten: int = 0
    objects_deleted: int = 0
    """Nothing was left of them."""
    entries: int = 0
    """Taken out of objects; those of a namespace that goes as a whole are not counted."""

    @property
    def objects_changed(self) -> int:
        return self.objects_rewritten + self.objects_deleted


@dataclass(frozen=True)
class _Run:
    query: ErasureQuery
    dry_run: bool
    done: Erased = field(default_factory=Erased)


class EraseTrail:
    """Erases from both trails."""

    def __init__(self, store: ObjectStore, cache: Cache) -> None:
        self._store = store
        self._cache = cache

    async def __call__(self, query: ErasureQuery, *, dry_run: bool = False) -> Erased:
        """Erase what the store holds; with `dry_run` only look.

        Raises:
            StoreUnavailableError: the store does not answer. What is erased stays erased; the
                same call goes on with the rest.
        """
        run = _Run(query, dry_run)
        for stream in await streams_of(self._store, query.namespace):
            async for keys in key_pages(self._store, stream):
                if query.selects:
                    await self._erase_page(stream, keys, run)
                else:
                    run.done.objects_deleted += len(keys)
                    await self._delete(keys, run)
        return run.done

    async def _erase_page(self, stream: Stream, keys: Sequence[str], run: _Run) -> None:
        """A few objects at a time; the first failure ends them all."""
        waiting = iter(keys)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_PARALLEL):
                    group.create_task(self._erase_each(stream, waiting, run))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures

    async def _erase_each(self, stream: Stream, keys: Iterator[str], run: _Run) -> None:
        for key in keys:
            name = parse_object_key(*stream, key)
            body = await self._store.get(key) if name is not None else None
            # Foreign keys are none of ours; an absent object was deleted since it was listed.
            if name is not None and body is not None:
                run.done.objects_read += 1
                await self._erase_from(stream, name, body, run)

    async def _erase_from(self, stream: Stream, name: ObjectName, body: bytes, run: _Run) -> None:
        query = run.query
        matching = LineFilter(PageQuery(limit=1, tags=query.tags, trace_id=query.trace_id))
        lines = split_lines(body)
        kept = [line for line in lines if not matching.matches(line)]
        if len(kept) == len(lines):
            return
        run.done.entries += len(lines) - len(kept)
        if not kept:
            run.done.objects_deleted += 1
        else:
            run.done.objects_rewritten += 1
            if not run.dry_run:
                await self._put(stream, name, b"\n".join(kept) + b"\n")
        await self._delete([object_key(*stream, name)], run)

    async def _put(self, stream: Stream, name: ObjectName, body: bytes) -> None:
        """Store what remains under the first free name above that readers take for one."""
        for nanos in range(name.nanos + 1, name.nanos + 1 + _MAX_NAMES):
            key = object_key(*stream, ObjectName(name.day, nanos))
            if parse_object_key(*stream, key) is None:
                break
            # The same body under a taken name: a run before this one ended after its put.
            if await self._store.put(key, body, if_absent=True) or (
                await self._store.get(key) == body
            ):
                return
        raise LayerError(
            ErrorKind.INTERNAL, f"no free name above {object_key(*stream, name)} for what remains"
        )

    async def _delete(self, keys: Sequence[str], run: _Run) -> None:
        """Delete objects and their copies: before, for the case that this is all that happens;
        after, since a reader may have made a copy meanwhile."""
        if run.dry_run:
            return
        await self._uncache(keys)
        await self._store.delete(keys)
        await self._uncache(keys)

    async def _uncache(self, keys: Sequence[str]) -> None:
        try:
            await self._cache.delete(keys)
        except CacheUnavailableError:
            # No list names these keys any more, and copies expire within a day.
            return
