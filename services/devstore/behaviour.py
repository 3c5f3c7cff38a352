"""What tests can ask of the development upstream: to be busy, to fail, to be slow, to count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from services.core.clock import Clock
from services.devstore.errors import DevstoreError

__all__ = ["Behaviour", "Behaviours"]


class Behaviour(msgspec.Struct, forbid_unknown_fields=True):
    """How one namespace behaves. `updating_seconds` of -1 lasts until it is changed."""

    updating_seconds: float = 0.0
    fail_next: int = 0
    fail_status: int = 500
    fail_routes: list[str] = []
    """Of `query`, `metadata`, `write` and `other`; empty: every route."""
    delay_ms: float = 0.0


@dataclass
class _Active:
    behaviour: Behaviour
    updating_until: float
    failures_left: int


@dataclass
class Behaviours:
    """By namespace; and how many requests came, by route."""

    clock: Clock
    requests: Counter[str] = field(default_factory=Counter)
    _active: dict[str, _Active] = field(default_factory=dict)

    def set(self, namespace: str, behaviour: Behaviour) -> None:
        """From now on."""
        seconds = behaviour.updating_seconds
        until = float("inf") if seconds < 0 else self.clock.monotonic() + seconds
        self._active[namespace] = _Active(behaviour, until, behaviour.fail_next)

    def clear(self, namespace: str) -> None:
        """Behave well again."""
        self._active.pop(namespace, None)

    def is_updating(self, namespace: str) -> bool:
        """Whether the index is to be reported as updating."""
        active = self._active.get(namespace)
        return active is not None and self.clock.monotonic() < active.updating_until

    async def meet(self, namespace: str, route: str) -> None:
        """Count a request, delay it and fail it as asked.

        Raises:
            DevstoreError: with the asked status.
        """
        self.requests[route] += 1
        active = self._active.get(namespace)
        if active is None:
            return
        if active.behaviour.delay_ms:
            await self.clock.sleep(active.behaviour.delay_ms / 1000)
        routes = active.behaviour.fail_routes
        if active.failures_left > 0 and (not routes or route in routes):
            active.failures_left -= 1
            raise DevstoreError(active.behaviour.fail_status, "failing as asked")
