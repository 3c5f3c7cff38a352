"""What the gateway tells DocumentService of writes, and what it does when nobody listens."""

from __future__ import annotations

import pytest
from layer.document.v2 import document_pb2 as pb

from tests.doubles.freshness_filter import FreshnessFilter, Notice

WRITE = "/v2/namespaces/products"
FETCH = "/v2/namespaces/products/documents/7"


def methods(filter_: FreshnessFilter) -> list[str]:
    return [notice.method for notice in filter_.notices]


@pytest.mark.parametrize("namespace", ["products", "a" * 127, "a" * 128])
def test_a_write_is_announced_before_and_after(namespace: str) -> None:
    filter_ = FreshnessFilter(lambda _: True)
    filter_.write(f"/v2/namespaces/{namespace}?x=1")
    assert methods(filter_) == ["BeginWrite", "EndWrite"]
    for notice in filter_.notices:
        assert pb.EndWriteRequest.FromString(notice.message).namespace == namespace


def test_a_namespace_is_told_as_the_service_sees_it() -> None:
    filter_ = FreshnessFilter(lambda _: True)
    filter_.write("/v1/namespaces/pro%64ucts/schema")
    assert pb.EndWriteRequest.FromString(filter_.notices[0].message).namespace == "products"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/namespaces/products/_debug/recall",
        "/v2/namespaces/products/explain_query",
        f"/v2/namespaces/{'a' * 129}",
        "/v1/namespaces",
    ],
)
def test_what_writes_nothing_is_not_announced(path: str) -> None:
    filter_ = FreshnessFilter(lambda _: True)
    filter_.write(path)
    assert filter_.notices == []


def test_a_replica_that_refuses_at_once_is_not_the_last_that_is_tried() -> None:
    refusals = iter([False, False, False, False])
    filter_ = FreshnessFilter(lambda _: next(refusals, True))
    filter_.write(WRITE)
    assert methods(filter_) == ["BeginWrite", *["EndWrite"] * 4]
    assert filter_.fetch(FETCH)


def test_a_notice_that_nobody_takes_is_owed_until_it_is_taken() -> None:
    answers = False
    filter_ = FreshnessFilter(lambda _: answers)
    filter_.write(WRITE)
    assert methods(filter_) == ["BeginWrite", *["EndWrite"] * 6]
    assert not filter_.fetch(FETCH)
    assert filter_.fetch("/v2/namespaces/others/documents/7")
    answers = True
    assert filter_.fetch(FETCH)
    before = len(filter_.notices)
    assert filter_.fetch(FETCH)
    assert len(filter_.notices) == before


def test_silence_delays_a_write_by_two_seconds_and_a_quarter_at_most() -> None:
    def silence(notice: Notice) -> bool:
        filter_.now_ms += round(notice.timeout_ms)
        return False

    filter_ = FreshnessFilter(silence)
    started = filter_.now_ms
    filter_.write(WRITE)
    assert filter_.now_ms - started == 2_250
    assert [notice.timeout_ms for notice in filter_.notices] == [250, 1000, 1000]
