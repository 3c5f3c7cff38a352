"""The cache interface, and its one failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.core.errors import ErrorKind, LayerError

__all__ = ["Cache", "CacheUnavailableError"]


class CacheUnavailableError(LayerError):
    """The cache is down, slow or full. Callers go on without it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UNAVAILABLE, message)


class Cache(Protocol):
    """Bytes under string keys, with optional expiry, shared by the replicas that use it.

    A value over the backend's record limit (1 MiB in Aerospike) is not kept: `put` answers False.
    Every method may raise `CacheUnavailableError`.
    """

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The unexpired values of those keys that are present; one round trip."""
        ...

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        """Store copies, replacing older ones; how many were kept. None: until evicted."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Forget keys; absent ones are fine."""
        ...

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        """Store a copy as a member of a small group that can be read as a whole."""
        ...

    async def members(self, group: str) -> Mapping[str, bytes]:
        """The unexpired members of a group; empty when there are none."""
        ...
