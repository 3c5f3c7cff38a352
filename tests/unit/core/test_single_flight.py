"""One read for all who want the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from services.core.single_flight import SingleFlight


class Loader:
    """Answers when told to, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.calls.append(list(keys))
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return {key: key.upper() for key in keys if key != "absent"}


async def started(*tasks: asyncio.Task[Mapping[str, str]]) -> None:
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_overlapping_batches_read_each_key_once() -> None:
    flight, loader = SingleFlight[str, str](), Loader()
    first = asyncio.create_task(flight.read(["a", "b"], loader))
    await started(first)
    second = asyncio.create_task(flight.read(["b", "c", "absent"], loader))
    await started(second)
    loader.go.set()
    assert await first == {"a": "A", "b": "B"}
    assert await second == {"b": "B", "c": "C"}
    assert loader.calls == [["a", "b"], ["c", "absent"]]
    assert await flight.read(["a"], loader) == {"a": "A"}
    assert len(loader.calls) == 3, "what has ended is read anew"


async def test_a_cancelled_caller_leaves_the_read_to_the_others() -> None:
    flight, loader = SingleFlight[str, str](), Loader()
    first = asyncio.create_task(flight.read(["a"], loader))
    await started(first)
    second = asyncio.create_task(flight.read(["a"], loader))
    await started(second)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    loader.go.set()
    assert await second == {"a": "A"}
    assert loader.calls == [["a"]]


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered() -> None:
    flight, loader = SingleFlight[str, str](), Loader()
    loader.error = ValueError("no")
    tasks = [asyncio.create_task(flight.read(["a"], loader)) for _ in range(3)]
    await started(*tasks)
    loader.go.set()
    for task in tasks:
        with pytest.raises(ValueError, match="no"):
            await task
    loader.error = None
    assert await flight.read(["a"], loader) == {"a": "A"}


async def test_beyond_the_bound_reads_are_not_shared() -> None:
    flight, loader = SingleFlight[str, str](most=1), Loader()
    tasks = [asyncio.create_task(flight.read([key], loader)) for key in ("a", "b", "b", "a")]
    await started(*tasks)
    loader.go.set()
    assert [list((await task).values()) for task in tasks] == [["A"], ["B"], ["B"], ["A"]]
    assert loader.calls == [["a"], ["b"], ["b"]]


async def test_closing_ends_what_is_read() -> None:
    flight, loader = SingleFlight[str, str](), Loader()
    task = asyncio.create_task(flight.read(["a"], loader))
    await started(task)
    await flight.close()
    with pytest.raises(asyncio.CancelledError):
        await task
