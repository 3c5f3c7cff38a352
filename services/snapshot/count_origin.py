"""How to count at the origin: by aggregation where that is certain, else by reading every row."""

from __future__ import annotations

import enum
import logging
from collections.abc import Mapping
from dataclasses import replace

from services.core.errors import ErrorKind, LayerError
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_facets import FacetCounts
from services.snapshot.count_request import CountRequest, Progress, no_progress
from services.snapshot.scan_origin import OriginScan

__all__ = ["OriginCount", "OriginStrategy"]

_logger = logging.getLogger(__name__)


class OriginStrategy(enum.StrEnum):
    """Which ways of counting may be taken."""

    AUTO = "auto"
    AGGREGATE = "aggregate"
    SCAN = "scan"


class OriginCount:
    """Counts by either way; both give the same counts."""

    def __init__(
        self, aggregation: OriginAggregation, scan: OriginScan, strategy: OriginStrategy
    ) -> None:
        self._aggregation = aggregation
        self._scan = scan
        self._strategy = strategy

    async def count(
        self, request: CountRequest, *, on_progress: Progress = no_progress
    ) -> FacetCounts:
        """Exact counts of the fields.

        Raises:
            LayerError: NOT_IMPLEMENTED, the strategy is `aggregate` and the upstream cannot count
                a field with certainty.
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError: as the port's.
        """
        if self._strategy is OriginStrategy.SCAN:
            return await self._scan.count(request, on_progress=on_progress)
        answer = await self._aggregation.count(request, on_progress=on_progress)
        if answer.counts is not None and not answer.uncertain:
            return answer.counts
        if self._strategy is OriginStrategy.AGGREGATE:
            raise LayerError(ErrorKind.NOT_IMPLEMENTED, _refusal(answer.uncertain))
        _logger.info(
            "reading every row",
            extra={"namespace": request.namespace, "reasons": dict(answer.uncertain)},
        )
        if answer.counts is None:
            return await self._scan.count(request, on_progress=on_progress)
        return await self._completed(request, answer.counts, answer.uncertain, on_progress)

    async def _completed(
        self,
        request: CountRequest,
        known: FacetCounts,
        uncertain: Mapping[str, str],
        on_progress: Progress,
    ) -> FacetCounts:
        """What is known, and a scan of the other fields. The first share of the progress, that of
        the fields that are known, is done."""
        fields = tuple(name for name in request.fields if name in uncertain)
        done = (len(request.fields) - len(fields)) * known.row_count

        def advance(documents: int, _expected: int | None) -> None:
            share = (done + documents * len(fields)) // len(request.fields)
            on_progress(share, known.row_count)

        scanned = await self._scan.count(replace(request, fields=fields), on_progress=advance)
        return FacetCounts(
            row_count=known.row_count,
            counts={**known.counts, **scanned.counts},
            distinct_over_cap={**known.distinct_over_cap, **scanned.distinct_over_cap},
        )


def _refusal(uncertain: Mapping[str, str]) -> str:
    reasons = "; ".join(f"{name!r}: {reason}" for name, reason in sorted(uncertain.items()))
    return (
        "LAYER_ORIGIN_STRATEGY is aggregate, but the upstream cannot count with certainty "
        f"({reasons or 'rows'}); set it to auto"
    )
