"""The stored form of a lease, which replicas of two versions read at the same time."""

from services.formats.snapshot_lease import LeaseRecord, ScanState, decode_lease, encode_lease

STORED = (
    b'{"holder":"host/1","expires_at_ms":1790000030000,"state":{"written_at":'
    b'"2026-09-21T14:00:00Z","facet_fields":["brand","color"],"watermark_ms":1789999999500},'
    b'"version":1}'
)
RECORD = LeaseRecord(
    "host/1",
    1_790_000_030_000,
    ScanState("2026-09-21T14:00:00Z", ("brand", "color"), 1_789_999_999_500),
)


def test_version_1() -> None:
    assert encode_lease(RECORD) == STORED
    assert decode_lease(STORED) == RECORD


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert decode_lease(STORED[:-1] + b',"later":[1]}') == RECORD


def test_a_state_covers_itself_alone() -> None:
    assert RECORD.state is not None
    assert RECORD.state.covers("2026-09-21T14:00:00Z", ("brand", "color"))
    assert not RECORD.state.covers("2026-09-21T14:00:00.0Z", ("brand", "color"))
    assert not RECORD.state.covers("2026-09-21T14:00:00Z", ("brand",))
