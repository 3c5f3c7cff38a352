"""The servicer's checks of a request: what it refuses, it refuses before a job exists."""

from typing import Any, cast

import pytest
from google.protobuf import json_format
from layer.snapshot.v2 import snapshot_pb2 as pb

from services.core.errors import ErrorKind, LayerError
from services.indexes.policies import Policies
from services.indexes.stored_policies import StoredPolicies
from services.snapshot.servicer import SnapshotServicer
from tests.unit.snapshot.harness import NS, SnapshotHarness


class _Context:
    """As much of a gRPC context as the servicer uses."""

    async def send_initial_metadata(self, metadata: object) -> None:
        del metadata


async def create(harness: SnapshotHarness, body: dict[str, Any]) -> pb.SnapshotJob:
    policies = Policies([], StoredPolicies(harness.store), harness.clock, refresh_seconds=10)
    servicer = SnapshotServicer(harness.create, harness.jobs, policies, min_interval_ms=0)
    request = json_format.ParseDict({"namespace": NS, **body}, pb.CreateSnapshotRequest())
    return await servicer.CreateSnapshot(request, cast(Any, _Context()))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"field": "a", "filters": ["a", "Has", 1]}, "filters[1]: 'Has' is no operator"),
        ({"field": "a", "filters": ["Or", [["a", "Eq", 1], ["b", "In", 2]]]}, "filters[1][1][2]"),
        ({"field": "a", "filters": "a = 1"}, "filters: must be a list"),
        ({"field": "a", "page_size": 0}, "page_size"),
        ({"field": "a", "source": "disk"}, "source"),
        ({"field": ""}, "field"),
        (
            {"field": "a", "source": "cache", "filters": ["Not", ["a", "Regex", "x"]]},
            "filters[1][1]: the cache cannot evaluate",
        ),
    ],
)
async def test_faults_are_named(body: dict[str, Any], problem: str) -> None:
    harness = SnapshotHarness([{"id": 1, "a": 1}])
    with pytest.raises(LayerError) as refused:
        await create(harness, body)
    assert refused.value.kind is ErrorKind.VALIDATION
    assert problem in refused.value.message
    assert harness.jobs.list(NS) == []


async def test_filters_go_upstream_as_they_came() -> None:
    harness = SnapshotHarness([{"id": 1, "a": 1, "b": "x"}])
    filters = ["And", [["a", "Gte", 1], ["Not", ["b", "Eq", None]]]]
    job = await create(harness, {"field": "a", "filters": filters})
    while not (done := harness.jobs.get(NS, job.id)).completed_at_ms:
        await harness.clock_tick()
    assert done.documents_scanned == 1
    assert all(filters_of(request) == filters for request in harness.upstream.requests)


def filters_of(request: Any) -> Any:
    """A query's filters; each sub-query's, which must agree, of a multi-query."""
    found = [query.get("filters") for query in request.get("queries", [request])]
    assert all(each == found[0] for each in found)
    return found[0]
