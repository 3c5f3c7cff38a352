"""The rows of a query's answer, as the JSON that they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from services.upstream.vector_store import UpstreamUnavailableError

__all__ = ["Rows", "last_id", "read_rows", "rows_by_id"]


class _Answer(msgspec.Struct):
    rows: list[msgspec.Raw]
    performance: msgspec.Raw = msgspec.Raw(b"{}")


class _Row(msgspec.Struct):
    id: str | int


class _Performance(msgspec.Struct):
    last_included_write_at: str | None = None


_answer_decoder = msgspec.json.Decoder(_Answer)
_id_decoder = msgspec.json.Decoder(_Row)
_performance_decoder = msgspec.json.Decoder(_Performance)


@dataclass(frozen=True)
class Rows:
    """Rows in their order, by their ids in text form.

    `written_at` is the upstream's time of the last write that the query observed, as text to
    compare; None where it does not say (turbopuffer.com/docs/query, performance).
    """

    by_id: Mapping[str, bytes]
    written_at: str | None


def read_rows(data: bytes) -> Rows:
    """A query's answer.

    Raises:
        UpstreamUnavailableError: it is no such answer.
    """
    try:
        answer = _answer_decoder.decode(data)
        rows = [bytes(row) for row in answer.rows]
        by_id = {str(_id_decoder.decode(row).id): row for row in rows}
    except msgspec.DecodeError as error:
        raise UpstreamUnavailableError("the upstream's answer has no rows") from error
    return Rows(by_id, _written_at(answer.performance))


def rows_by_id(data: bytes) -> Mapping[str, bytes]:
    """The rows alone. Raises as `read_rows`."""
    return read_rows(data).by_id


def last_id(rows: Mapping[str, bytes]) -> str | int:
    """The id of the last of some rows, as the upstream has it."""
    return _id_decoder.decode(rows[next(reversed(list(rows)))]).id


def _written_at(performance: msgspec.Raw) -> str | None:
    try:
        return _performance_decoder.decode(performance).last_included_write_at
    except msgspec.DecodeError:
        # Figures that nobody needs for the rows to be right.
        return None
