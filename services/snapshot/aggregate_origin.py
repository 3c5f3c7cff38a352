"""Counting by aggregation: the upstream groups, and answers values with their counts.

Source: turbopuffer.com/docs/query, aggregations. Groups come in the order of their keys and are
cut at a limit without a word, so that only a page with fewer groups than the limit is known to be
the last; a full one is continued behind its last key.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec

from services.core.ids import Namespace
from services.formats.snapshot_body import FIELD_CAP
from services.snapshot.count_facets import FacetCounts
from services.snapshot.count_request import (
    ORIGIN_PAGE_SIZE,
    CountRequest,
    Progress,
    no_progress,
)
from services.snapshot.field_groups import FieldGroups, UncertainError
from services.upstream.vector_store import UpstreamRejectedError, VectorStore

__all__ = ["Aggregated", "OriginAggregation"]

_QUERIES_A_REQUEST: Final = 4
"""An aggregation takes 4 of the 16 slots that a namespace has (turbopuffer.com/docs/limits)."""


@dataclass(frozen=True)
class Aggregated:
    """What is certain, and why the rest is not, by field. Without a row count nothing is."""

    counts: FacetCounts | None
    uncertain: Mapping[str, str]


class OriginAggregation:
    """One grouping query a field, and one for the row count, four in a request, which is one point
    in time. A process has one such request at a time for a namespace, so that they do not
    compete for its slots.

    Args:
        group_cap: groups after which the upstream cuts.
        field_cap: values that a histogram may have.
    """

    def __init__(
        self,
        upstream: VectorStore,
        *,
        group_cap: int = ORIGIN_PAGE_SIZE,
        field_cap: int = FIELD_CAP,
    ) -> None:
        self._upstream = upstream
        self._group_cap = group_cap
        self._field_cap = field_cap
        self._turns: WeakValueDictionary[Namespace, asyncio.Lock] = WeakValueDictionary()

    async def count(
        self, request: CountRequest, *, on_progress: Progress = no_progress
    ) -> Aggregated:
        """Exact counts of those fields for which the upstream's answers leave no doubt.

        Raises:
            NamespaceNotFoundError, UpstreamUnavailableError: as the port's. What the upstream
                refuses is uncertain instead.
        """
        turn = self._turns.setdefault(request.namespace, asyncio.Lock())
        run = _Run(self._upstream, request, turn, self._group_cap, self._field_cap)
        while run.has_more():
            await run.step()
            on_progress(*run.progress())
        return run.result()


class _RowCount:
    """The query that counts documents."""

    def __init__(self) -> None:
        self.value: int | None = None

    def query(self, request: CountRequest) -> dict[str, object]:
        return {"aggregate_by": {"n": ["Count"]}, **request.narrowed()}

    def add(self, answer: bytes | msgspec.Raw) -> bool:
        """Read the answer; nothing follows it.

        Raises:
            msgspec.DecodeError: it is no such answer.
        """
        self.value = _totals_decoder.decode(answer).aggregations.n
        return False


_Question = _RowCount | FieldGroups


class _Run:
    """One count, a request a step."""

    def __init__(
        self,
        upstream: VectorStore,
        request: CountRequest,
        turn: asyncio.Lock,
        group_cap: int,
        field_cap: int,
    ) -> None:
        self._upstream = upstream
        self._request = request
        self._turn = turn
        self._field_cap = field_cap
        self._uncertain: dict[str, str] = {}
        self._progress = 0
        self._rows = _RowCount()
        self._fields: dict[str, FieldGroups] = {}
        for name in request.fields:
            if name == "id":
                continue
            try:
                declared = request.metadata.attribute_type(name)
                self._fields[name] = FieldGroups(name, declared, group_cap, field_cap)
            except UncertainError as error:
                self._uncertain[name] = str(error)
        self._waiting: deque[_Question] = deque([self._rows, *self._fields.values()])

    def has_more(self) -> bool:
        """Whether something is left to ask."""
        return bool(self._waiting)

    async def step(self) -> None:
        """Send one request and read its answers."""
        batch = [
            self._waiting.popleft() for _ in range(min(_QUERIES_A_REQUEST, len(self._waiting)))
        ]
        answers = await self._ask_together(batch)
        if answers is None:
            for question in batch:
                await self._ask_alone(question)
        else:
            for question, answer in zip(batch, answers, strict=True):
                await self._read(question, answer)
            self._check_sums(batch)
        if self._rows.value is None:
            # Everything will be read row by row, so the rest would be for nothing.
            self._waiting.clear()

    def progress(self) -> tuple[int, int | None]:
        """Documents counted, as a mean of the fields, and how many there are."""
        rows = self._rows.value or 0
        counted = sum(min(groups.documents(rows), rows) for groups in self._fields.values())
        mean = counted // len(self._request.fields) if self._request.fields else rows
        # What a field had is lost when it becomes uncertain; progress does not go back.
        self._progress = max(self._progress, mean)
        return self._progress, self._rows.value

    def result(self) -> Aggregated:
        rows = self._rows.value
        if rows is None:
            reason = "the upstream does not count rows"
            return Aggregated(None, dict.fromkeys(self._request.fields, reason))
        counts: dict[str, Mapping[str, int]] = {}
        over_cap: dict[str, int] = {}
        for name in self._request.fields:
            if name == "id" and rows > self._field_cap:
                # No two documents share an id.
                over_cap[name] = rows
            elif name == "id":
                self._uncertain[name] = "the upstream does not group by id"
            elif name not in self._uncertain:
                groups = self._fields[name]
                if groups.distinct > self._field_cap:
                    over_cap[name] = groups.distinct
                else:
                    counts[name] = groups.counts
        return Aggregated(FacetCounts(rows, counts, over_cap), self._uncertain)

    async def _ask_together(self, batch: Sequence[_Question]) -> Sequence[msgspec.Raw] | None:
        """The answers of one multi-query; None where the upstream refuses it or does not answer
        each part."""
        queries = [question.query(self._request) for question in batch]
        try:
            data = await self._query({"queries": queries})
            results = _multi_decoder.decode(data).results
        except (UpstreamRejectedError, msgspec.DecodeError):
            return None
        return results if len(results) == len(batch) else None

    async def _ask_alone(self, question: _Question) -> None:
        """Ask again by itself: which of several queries was refused, the upstream does not say."""
        try:
            data = await self._query(question.query(self._request))
        except UpstreamRejectedError as error:
            self._doubt(question, error.message)
        else:
            await self._read(question, data)

    async def _read(self, question: _Question, answer: bytes | msgspec.Raw) -> None:
        try:
            # Off the loop: 10,000 groups take milliseconds that other calls wait for.
            has_more = await asyncio.to_thread(question.add, answer)
        except UncertainError as error:
            self._doubt(question, str(error))
        except msgspec.DecodeError:
            self._doubt(question, "the upstream's answer holds no groups")
        else:
            if has_more:
                self._waiting.append(question)

    def _check_sums(self, batch: Sequence[_Question]) -> None:
        """Groups that were counted at the same point in time as the rows must add up to them."""
        if self._rows not in batch or self._rows.value is None:
            return
        for question in batch:
            if (
                isinstance(question, FieldGroups)
                and question.is_complete
                and not question.is_array
                and question.documents(0) != self._rows.value
            ):
                self._doubt(question, "the upstream's groups do not add up to the row count")

    def _doubt(self, question: _Question, reason: str) -> None:
        if isinstance(question, FieldGroups):
            self._uncertain[question.name] = reason
            del self._fields[question.name]

    async def _query(self, query: Mapping[str, object]) -> bytes:
        async with self._turn:
            return await self._upstream.query(self._request.namespace, query)


class _Multi(msgspec.Struct):
    results: list[msgspec.Raw]


class _Total(msgspec.Struct):
    n: int


class _Totals(msgspec.Struct):
    aggregations: _Total


_multi_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Multi)
_totals_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Totals)
