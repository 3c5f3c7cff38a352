"""Operations on the LMDB cache's two databases: records, and the queue in which they go."""

from __future__ import annotations

import lmdb

from services.cache import lmdb_records
from services.cache.lmdb_environment import OpenEnvironment

__all__ = ["evict", "forget", "fraction_used", "store", "sweep"]


def store(opened: OpenEnvironment, txn: lmdb.Transaction, key: bytes, stored: bytes) -> None:
    """Put a record in place of an older one, and queue it."""
    forget(opened, txn, key)
    txn.put(key, stored, db=opened.records)
    txn.put(lmdb_records.queue_key_of(stored), key, db=opened.queue)


def forget(opened: OpenEnvironment, txn: lmdb.Transaction, key: bytes) -> None:
    """Remove a record, if it is there, and its place in the queue."""
    old = txn.get(key, db=opened.records)
    if old is not None:
        txn.delete(lmdb_records.queue_key_of(old), key, db=opened.queue)
        txn.delete(key, db=opened.records)


def sweep(opened: OpenEnvironment, txn: lmdb.Transaction, now_ns: int, limit: int) -> int:
    """Remove at most `limit` expired records, those that expired first; how many."""
    return _remove_from_queue(opened, txn, b"e", limit, until_ns=now_ns)


def evict(opened: OpenEnvironment, txn: lmdb.Transaction, now_ns: int, limit: int) -> int:
    """Remove at most `limit` records: expired ones, then the oldest without expiry, then
    those that expire soonest; how many."""
    removed = sweep(opened, txn, now_ns, limit)
    for kind in (b"n", b"e"):
        removed += _remove_from_queue(opened, txn, kind, limit - removed)
    return removed


def fraction_used(opened: OpenEnvironment, txn: lmdb.Transaction, more_bytes: int = 0) -> float:
    """The share of the map that live pages take, with `more_bytes` of new values."""
    stats = [txn.stat(db) for db in (opened.records, opened.queue)]
    pages = sum(s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"] for s in stats)
    return float(pages + more_bytes / stats[0]["psize"]) / opened.max_pages


def _remove_from_queue(
    opened: OpenEnvironment,
    txn: lmdb.Transaction,
    kind: bytes,
    limit: int,
    *,
    until_ns: int | None = None,
) -> int:
    cursor = txn.cursor(db=opened.queue)
    removed = 0
    found = cursor.set_range(kind)
    while found and removed < limit:
        queued, key = (bytes(part) for part in cursor.item())
        if not queued.startswith(kind):
            break
        if until_ns is not None and not lmdb_records.is_expired(queued, until_ns):
            break
        txn.delete(key, db=opened.records)
        found = cursor.delete()
        removed += 1
    return removed
