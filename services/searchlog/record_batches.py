"""`RecordSearches` and `RecordFetches`: a batch is kept as far as it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from services.core.errors import LayerError
from services.searchlog.model import AckLevel, DropReason, Fetch, Search
from services.searchlog.record import Recorder
from services.searchlog.writer import Receipt, TrailWriter

__all__ = ["BatchOutcome", "RecordBatches"]

_RecordT = TypeVar("_RecordT", Search, Fetch)

_DROPPED = {
    DropReason.SPOOL_FULL: "the spool is full; try again later",
    DropReason.TOO_LARGE: "the record is too large",
}


@dataclass
class BatchOutcome:
    """How many records were kept; why the others, by position, were not."""

    accepted: int = 0
    errors: dict[int, str] = field(default_factory=dict)


class RecordBatches:
    """Keeps batches and returns when they are as safe as asked."""

    def __init__(self, recorder: Recorder, writer: TrailWriter) -> None:
        self._recorder = recorder
        self._writer = writer

    async def searches(
        self, searches: Iterable[Callable[[], Search]], ack: AckLevel
    ) -> BatchOutcome:
        """Keep searches. Each is a call that parses it, or raises LayerError."""
        return await self._keep(searches, self._recorder.search, ack)

    async def fetches(self, fetches: Iterable[Callable[[], Fetch]], ack: AckLevel) -> BatchOutcome:
        """Keep fetches, like searches."""
        return await self._keep(fetches, self._recorder.fetch, ack)

    async def _keep(
        self,
        records: Iterable[Callable[[], _RecordT]],
        keep: Callable[[_RecordT, AckLevel], Receipt | DropReason],
        ack: AckLevel,
    ) -> BatchOutcome:
        outcome = BatchOutcome()
        receipts: list[Receipt] = []
        for index, parse in enumerate(records):
            try:
                answer = keep(parse(), ack)
            except LayerError as error:
                outcome.errors[index] = error.message
                continue
            if isinstance(answer, Receipt):
                receipts.append(answer)
            else:
                outcome.errors[index] = _DROPPED[answer]
        await self._writer.acknowledged(receipts, ack)
        outcome.accepted = len(receipts)
        return outcome
