"""The cache of those who have configured none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["NoCache"]


class NoCache:
    """Keeps nothing and never fails."""

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return {}

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        return 0

    async def delete(self, keys: Sequence[str]) -> None:
        return None

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        return False

    async def members(self, group: str) -> Mapping[str, bytes]:
        return {}
