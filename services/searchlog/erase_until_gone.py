"""An erasure that also gets what was on its way to the object store."""

from __future__ import annotations

from typing import Final

from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.searchlog.erase_trail import Erased, EraseTrail, ErasureQuery

__all__ = ["erase_until_gone"]

_MAX_RUNS: Final = 20


async def erase_until_gone(
    erase: EraseTrail, query: ErasureQuery, clock: Clock, *, pause_seconds: float
) -> Erased:
    """Erase, wait as long as a running service may hold an entry back, and again, until a run
    after such a wait finds nothing; the sum of all runs.

    It does not see the spool of a service that is down, or that cannot reach the store.

    Raises:
        StoreUnavailableError: the store does not answer.
        LayerError: TIMEOUT, matching entries keep arriving.
    """
    total = await erase(query)
    for _ in range(_MAX_RUNS):
        await clock.sleep(pause_seconds)
        done = await erase(query)
        if not done.objects_changed:
            return total
        total = Erased(
            objects_read=total.objects_read + done.objects_read,
            objects_rewritten=total.objects_rewritten + done.objects_rewritten,
            objects_deleted=total.objects_deleted + done.objects_deleted,
            entries=total.entries + done.entries,
        )
    raise LayerError(ErrorKind.TIMEOUT, f"matching entries still arrive after {_MAX_RUNS} runs")
