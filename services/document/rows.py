"""The rows of a query's answer, as the JSON that they are."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from services.upstream.vector_store import UpstreamUnavailableError

__all__ = ["last_id", "rows_by_id"]


class _Answer(msgspec.Struct):
    rows: list[msgspec.Raw]


class _Row(msgspec.Struct):
    id: str | int


_answer_decoder = msgspec.json.Decoder(_Answer)
_id_decoder = msgspec.json.Decoder(_Row)


def rows_by_id(data: bytes) -> dict[str, bytes]:
    """A query's rows in their order, by their ids in text form.

    Raises:
        UpstreamUnavailableError: it is no such answer.
    """
    try:
        rows = [bytes(row) for row in _answer_decoder.decode(data).rows]
        return {str(_id_decoder.decode(row).id): row for row in rows}
    except msgspec.DecodeError as error:
        raise UpstreamUnavailableError("the upstream's answer has no rows") from error


def last_id(rows: Mapping[str, bytes]) -> str | int:
    """The id of the last of some rows, as the upstream has it."""
    return _id_decoder.decode(rows[next(reversed(list(rows)))]).id
