"""The cache interface, and its one failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.core.errors import ErrorKind, LayerError

__all__ = ["MAX_VALUE_BYTES", "Cache", "CacheUnavailableError"]

MAX_VALUE_BYTES = 1024 * 1024 - 4096
"""The longest value that every backend keeps: Aerospike's record of 1 MiB, less its head."""


class CacheUnavailableError(LayerError):
    """The cache is down, slow or full. Callers go on without it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UNAVAILABLE, message)


class Cache(Protocol):
    """Bytes under string keys, with optional expiry, shared by the replicas that use it.

    A value over the record limit (`MAX_VALUE_BYTES`) is not kept, nor is the older one under its
    key: `put_many` does not count it, `put_member` answers False.
    Every method may raise `CacheUnavailableError`.
    """

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The unexpired values of those keys that are present; one round trip."""
        ...

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        """Store copies, replacing older ones; how many were kept.

        `ttl_seconds` is above zero; None keeps for as long as the cache sees fit.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget keys; absent ones are fine."""
        ...

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        """Store a copy as a member of a small group that can be read as a whole.

        A backend may keep a group in one record, so the limit holds for all of its members
        together: False when this one was not kept.
        """
        ...

    async def members(self, group: str) -> Mapping[str, bytes]:
        """The unexpired members of a group; empty when there are none."""
        ...
