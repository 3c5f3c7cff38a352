"""A cache in memory that expires by the clock it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.core.clock import Clock

__all__ = ["MemoryCache"]

_MAX_VALUE_BYTES = 1024 * 1024


class MemoryCache:
    """Behaves like every backend, for tests that do not test caches."""

    def __init__(self, clock: Clock) -> None:
        self.values: dict[str, tuple[bytes, float | None]] = {}
        self.groups: dict[str, dict[str, tuple[bytes, float]]] = {}
        self._clock = clock

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        now = self._clock.monotonic()
        found = {key: self.values[key] for key in keys if key in self.values}
        return {k: body for k, (body, until) in found.items() if until is None or now < until}

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        until = None if ttl_seconds is None else self._clock.monotonic() + ttl_seconds
        fitting = {k: (v, until) for k, v in values.items() if len(v) <= _MAX_VALUE_BYTES}
        self.values.update(fitting)
        return len(fitting)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.values.pop(key, None)

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        if len(value) > _MAX_VALUE_BYTES:
            return False
        until = self._clock.monotonic() + ttl_seconds
        self.groups.setdefault(group, {})[member] = (value, until)
        return True

    async def members(self, group: str) -> Mapping[str, bytes]:
        now = self._clock.monotonic()
        members = self.groups.get(group, {})
        return {name: value for name, (value, until) in members.items() if now < until}
