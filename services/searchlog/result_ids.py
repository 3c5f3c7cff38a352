"""The ids of the first results, from an answer that may have been cut."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import ijson
import msgspec

from services.searchlog.elide_arrays import elide

__all__ = ["MAX_IDS", "Results", "read_results"]

MAX_IDS: Final = 100
_ID_PATHS: Final = frozenset({"rows.item.id", "results.item.rows.item.id"})


@dataclass(frozen=True)
class Results:
    """Ids in rank order, sub-queries one after the other; how many rows, None when unknown."""

    ids: Sequence[str]
    count: int | None


class _Row(msgspec.Struct):
    id: str | int


class _Result(msgspec.Struct):
    rows: list[_Row] | None = None


class _Answer(msgspec.Struct):
    rows: list[_Row] | None = None
    results: list[_Result] | None = None


_ANSWER: Final = msgspec.json.Decoder(_Answer)


def read_results(body: bytes, *, complete: bool) -> Results | None:
    """The results of a query's answer; None when it is not one.

    A cut answer gives the ids that its beginning holds, and no count.
    """
    if not complete:
        return Results(list(islice(_ids_of_prefix(body), MAX_IDS)), None)
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    rows = answer.rows
    for result in answer.results or ():
        if result.rows is not None:
            rows = [*(rows or ()), *result.rows]
    if rows is None:
        return Results((), None)
    return Results([str(row.id) for row in rows[:MAX_IDS]], len(rows))


def _ids_of_prefix(body: bytes) -> Iterable[str]:
    """Ids for as long as the text makes sense."""
    # Returned vectors would be thousands of events.
    text = elide(body).text
    try:
        for path, event, value in ijson.parse(io.BytesIO(text)):
            if path in _ID_PATHS and event in ("string", "number"):
                yield str(value)
    except (ijson.JSONError, UnicodeDecodeError):
        return
