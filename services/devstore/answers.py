"""Bodies of answers beyond what was asked for: counts, billing, performance, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.devstore.billing import QUERIED_BYTES, ROW_BYTES
from services.devstore.query import Answer
from services.devstore.write import Written
from services.devstore.write_request import WriteRequest

__all__ = ["query_statistics", "timestamp", "write_answer"]


def write_answer(request: WriteRequest, written: Written, seconds: float) -> dict[str, Any]:
    """Counts of what was asked for; ids where there are any (turbopuffer.com/docs/write)."""
    touched = {
        "upserted": (written.upserted, bool(request.upserts)),
        "patched": (written.patched, bool(request.patches) or request.patch_by_filter is not None),
        "deleted": (written.deleted, bool(request.deletes) or request.delete_by_filter is not None),
    }
    answer: dict[str, Any] = {
        "status": "OK",
        "message": "documents written",
        "rows_affected": sum(len(ids) for ids, _ in touched.values()),
    }
    answer |= {f"rows_{name}": len(ids) for name, (ids, asked) in touched.items() if asked}
    if request.return_ids:
        answer |= {f"{name}_ids": ids for name, (ids, _) in touched.items() if ids}
    documents = len(written.upserted) + len(written.patched)
    billing: dict[str, Any] = {"billable_logical_bytes_written": documents * ROW_BYTES}
    if request.reads:
        billing["query"] = _billing(returned_bytes=0)
    return {
        **answer,
        "billing": billing,
        "performance": {"server_total_ms": _milliseconds(seconds)},
    }


def query_statistics(answer: Answer, seconds: float) -> dict[str, Any]:
    """The blocks that every query's answer has."""
    return {
        "billing": _billing(answer.returned_bytes),
        "performance": {
            "cache_hit_ratio": 1.0,
            "cache_temperature": "hot",
            "server_total_ms": _milliseconds(seconds),
            "query_execution_ms": _milliseconds(seconds),
            "exhaustive_search_count": answer.row_count,
            "approx_namespace_size": answer.row_count,
            "last_included_write_at": timestamp(answer.written_ns),
        },
    }


def timestamp(epoch_ns: int) -> str:
    """RFC 3339 with all nine digits: equal times are then equal writes."""
    seconds, nanoseconds = divmod(epoch_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def _billing(returned_bytes: int) -> dict[str, int]:
    return {
        "billable_logical_bytes_queried": QUERIED_BYTES,
        "billable_logical_bytes_returned": returned_bytes,
    }


def _milliseconds(seconds: float) -> int:
    """At least one: something was done."""
    return max(1, round(seconds * 1000))
