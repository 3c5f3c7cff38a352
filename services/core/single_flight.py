"""Concurrent reads of one thing made one read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["SingleFlight"]

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

_FLYING: Final = 100_000


class SingleFlight(Generic[KeyT, ValueT]):
    """Reads by key, in batches; a key that is being read is not read again.

    Args:
        most: keys that are read at a time; those beyond are read without being shared.
    """

    def __init__(self, *, most: int = _FLYING) -> None:
        self._most = most
        self._flying: dict[KeyT, asyncio.Task[Mapping[KeyT, ValueT]]] = {}
        self._tasks: set[asyncio.Task[Mapping[KeyT, ValueT]]] = set()

    async def read(
        self,
        keys: Sequence[KeyT],
        load: Callable[[Sequence[KeyT]], Awaitable[Mapping[KeyT, ValueT]]],
    ) -> Mapping[KeyT, ValueT]:
        """The values of the keys that have one; `load` is called once, for keys nobody reads.

        A caller that is cancelled leaves its read to those who wait for it too.

        Raises:
            Whatever the `load` of a key raised, its own or another caller's.
        """
        flying = {key: self._flying[key] for key in keys if key in self._flying}
        rest = [key for key in keys if key not in flying]
        if rest:
            task = self._start(rest, load)
            flying |= dict.fromkeys(rest, task)
        found: dict[KeyT, ValueT] = {}
        for task in set(flying.values()):
            answer = await asyncio.shield(task)
            found |= {key: answer[key] for key in keys if flying[key] is task and key in answer}
        return found

    async def close(self) -> None:
        """End what is being read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(
        self,
        keys: Sequence[KeyT],
        load: Callable[[Sequence[KeyT]], Awaitable[Mapping[KeyT, ValueT]]],
    ) -> asyncio.Task[Mapping[KeyT, ValueT]]:
        async def run() -> Mapping[KeyT, ValueT]:
            return await load(keys)

        task = asyncio.create_task(run())
        self._tasks.add(task)
        shared = keys if len(self._flying) + len(keys) <= self._most else ()
        self._flying |= dict.fromkeys(shared, task)

        def land(done: asyncio.Task[Mapping[KeyT, ValueT]]) -> None:
            self._tasks.discard(done)
            for key in shared:
                del self._flying[key]
            if not done.cancelled():
                # Seen here, since all who waited may have been cancelled.
                done.exception()

        task.add_done_callback(land)
        return task
