"""What warm jobs leave in the cache: for readers once one has ended, and for one that goes on.

A state names lists of ids that were all there before it. Lists lie under the name of the job that
wrote them and are never written again, so that states of jobs that run at the same time, in
whichever replicas, may replace each other: each is true by itself. Everything lies in one
generation, so that a write through the gateway ends it (`generations`).
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.core.ids import Namespace

__all__ = ["WarmPart", "WarmState", "decode_state", "id_list_key", "warm_key", "warming_key"]


class WarmPart(msgspec.Struct, frozen=True, array_like=True):
    """Lists 0 to `id_lists` - 1 of a job."""

    job: str
    id_lists: int


class WarmState(msgspec.Struct, frozen=True):
    """The documents up to `last_id` in the order of ids are in the generation, under the ids in
    the lists of `parts`.

    `began_ms`: epoch milliseconds at which the first was read; it is the first to expire.
    `stable_as_of_ms`: every write before it is in them. `types`: the schema's, by attribute.
    `updated_at`: the metadata's, before the first document was read. `written_at` and
    `is_settled`: as `LastWrite`'s.
    """

    generation: str
    parts: tuple[WarmPart, ...]
    documents: int
    last_id: str | int | None
    began_ms: int
    stable_as_of_ms: int
    types: dict[str, str]
    updated_at: str
    written_at: str | None = None
    is_settled: bool = False

    def left_seconds(self, now_ms: int, ttl_seconds: float) -> float:
        """Until the first document expires. Clocks of replicas differ, so never more than all."""
        return min(ttl_seconds, ttl_seconds - (now_ms - self.began_ms) / 1000)


_decoder: Final = msgspec.json.Decoder(WarmState)


def decode_state(data: bytes | None) -> WarmState | None:
    """A stored state; None for none, or one of another version."""
    try:
        return None if data is None else _decoder.decode(data)
    except msgspec.DecodeError:
        return None


def warm_key(namespace: Namespace, generation: str) -> str:
    """Where the state of a warm namespace is."""
    return f"document-warm/{namespace}/{generation}"


def warming_key(namespace: Namespace, generation: str) -> str:
    """Where the state of a job that has not ended is."""
    return f"document-warming/{namespace}/{generation}"


def id_list_key(namespace: Namespace, generation: str, job: str, number: int) -> str:
    """Where one list of a job is, from 0."""
    return f"document-ids/{namespace}/{generation}/{job}/{number}"
