"""Fetches on their way to SearchLogService: bounded, sent again, counted when lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.core.errors import ErrorKind, LayerError
from services.document import record_fetches as module
from services.document.model import Fetch
from services.document.record_fetches import FetchRecorder
from tests.doubles.fake_clock import FakeClock
from tests.unit.document.harness import NS


class SearchLog:
    """Takes batches, but for the next `failures`."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failures = 0
        self.took_700 = asyncio.Event()

    async def send(self, fetches: Sequence[Fetch]) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise LayerError(ErrorKind.UNAVAILABLE, "down")
        self.batches.append([fetch.doc_id for fetch in fetches])
        if sum(map(len, self.batches)) == 700:
            self.took_700.set()


def fetches(count: int) -> list[Fetch]:
    return [Fetch(NS, "t", str(n), (), "cache", n) for n in range(count)]


@pytest.fixture
def log() -> SearchLog:
    return SearchLog()


@pytest.fixture
def recorder(log: SearchLog) -> FetchRecorder:
    return FetchRecorder(log.send, FakeClock())


async def test_batches_are_sent_and_sent_again(log: SearchLog, recorder: FetchRecorder) -> None:
    log.failures = 2
    running = asyncio.create_task(recorder.run())
    recorder.record(fetches(700))
    await log.took_700.wait()
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [len(batch) for batch in log.batches] == [500, 200]
    assert (recorder.counts.failures, recorder.counts.dropped) == (2, 0)


async def test_what_waits_is_bounded(
    log: SearchLog, recorder: FetchRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 10)
    recorder.record(fetches(7))
    recorder.record(fetches(7))
    assert (recorder.counts.received, recorder.counts.dropped) == (14, 4)
    await recorder.flush(1.0)
    assert recorder.counts.sent == 10


async def test_the_last_ones_are_tried_again_at_shutdown(
    log: SearchLog, recorder: FetchRecorder
) -> None:
    log.failures = 3
    recorder.record(fetches(2))
    await recorder.flush(5.0)
    assert log.batches == [["0", "1"]]
    assert recorder.counts.dropped == 0


async def test_what_cannot_be_sent_at_shutdown_is_counted(
    log: SearchLog, recorder: FetchRecorder
) -> None:
    log.failures = 1_000_000
    recorder.record(fetches(2))
    await recorder.flush(0.05)
    assert (recorder.counts.sent, recorder.counts.dropped) == (0, 2)
