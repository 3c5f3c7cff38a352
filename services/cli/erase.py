"""`layer searchlog erase`: what to erase, from which stores, and the report."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from services.core.clock import SystemClock
from services.core.errors import LayerError
from services.core.ids import parse_namespace
from services.edge.settings import load_settings
from services.formats.tags import parse_tags_strictly
from services.searchlog.erase_trail import Erased, EraseTrail, ErasureQuery
from services.searchlog.erase_until_gone import erase_until_gone
from services.searchlog.erasure_lock import ErasureLock, ErasureLockedError
from services.searchlog.settings import SearchLogSettings
from services.searchlog.trace_ids import parse_trace_id
from services.storage.object_store import StoreRefusedError
from services.wiring.stores import open_cache, open_object_store

__all__ = ["erase_command"]

_LATE_SECONDS: Final = 5.0
"""What a flush takes beyond its linger when nothing is wrong."""


async def erase_command(
    *,
    tags: Sequence[str],
    trace_id: str | None,
    namespace: str | None,
    dry_run: bool,
    wait: bool,
    break_lock: bool,
    console: Console,
) -> int:
    """Erase and report; the exit status: 0, or 1 with the reason on one line, or 2 when the
    options are wrong."""
    try:
        query = ErasureQuery(
            namespace=None if namespace is None else parse_namespace(namespace),
            tags=frozenset(parse_tags_strictly(tags)),
            trace_id=None if trace_id is None else parse_trace_id(trace_id),
        )
    except LayerError as error:
        _fail(error.message)
        return 2
    settings = load_settings(SearchLogSettings)
    clock = SystemClock()
    pause_seconds = settings.flush_linger_seconds + _LATE_SECONDS
    try:
        async with (
            open_object_store(settings, clock, checked=not dry_run) as store,
            open_cache(settings, clock) as cache,
        ):
            erase = EraseTrail(store, cache)
            if dry_run:
                done = await erase(query, dry_run=True)
            else:
                lock = ErasureLock(store, clock, holder=f"{platform.node()}:{os.getpid()}")
                async with lock.held(break_lock=break_lock):
                    if wait:
                        done = await erase_until_gone(
                            erase, query, clock, pause_seconds=pause_seconds
                        )
                    else:
                        done = await erase(query)
    except ErasureLockedError as error:
        _fail(error.message)
        return 1
    except StoreRefusedError as error:
        _fail(f"stopped: {error}")
        return 1
    except (LayerError, OSError) as error:
        _fail(f"stopped, run it again: {error}")
        return 1
    _report(console, query, done, dry_run=dry_run)
    if not wait:
        console.print(
            f"entries younger than {pause_seconds:.0f} s may not be stored yet, nor those in the "
            "spool of a service that is down: run it again then, or use --wait",
            highlight=False,
        )
    return 0


def _fail(reason: str) -> None:
    print(f"erase: {reason}", file=sys.stderr)


def _report(console: Console, query: ErasureQuery, done: Erased, *, dry_run: bool) -> None:
    table = Table("what", "count", title="would be erased" if dry_run else "erased")
    entries = str(done.entries) if query.selects else "all of the namespace"
    for what, count in (
        ("entries", entries),
        ("objects read", str(done.objects_read)),
        ("objects rewritten", str(done.objects_rewritten)),
        ("objects deleted", str(done.objects_deleted)),
    ):
        table.add_row(what, count)
    console.print(table)
