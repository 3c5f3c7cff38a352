"""Keys: built and read by the same rules, and ordered newest first."""

from hypothesis import given
from hypothesis import strategies as st

from services.core.ids import Namespace
from services.formats import snapshot_keys as keys
from services.formats.snapshot_keys import SnapshotRef

namespaces = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,40}", fullmatch=True).map(Namespace)
shas = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
refs = st.builds(SnapshotRef, namespaces, st.integers(0, 9_999_999_999_999), shas)


@given(refs)
def test_every_key_says_what_it_was_made_of(ref: SnapshotRef) -> None:
    assert keys.parse_body_key(ref.namespace, keys.body_key(ref)) == ref
    assert keys.parse_sha_key(ref.namespace, keys.sha_key(ref)) == ref
    assert keys.parse_activity_key(keys.activity_key(ref)) == ref


@given(refs, refs)
def test_later_sorts_first(one: SnapshotRef, two: SnapshotRef) -> None:
    if one.watermark_ms > two.watermark_ms:
        assert keys.inverted(one.watermark_ms) < keys.inverted(two.watermark_ms)
        assert keys.activity_key(one) < keys.activity_key(two)


def test_foreign_keys_mean_nothing() -> None:
    namespace = Namespace("n")
    for key in ("snapshots/n/notes.txt", "snapshots/n/123-abc.json", "snapshots/n/"):
        assert keys.parse_body_key(namespace, key) is None
        assert keys.parse_sha_key(namespace, key) is None
        assert keys.parse_activity_key(key) is None


def test_the_layout_is_the_documented_one() -> None:
    ref = SnapshotRef(Namespace("products"), 1_747_300_000_123, "ab" * 32)
    inv = "8252699999876"
    assert keys.body_key(ref) == f"snapshots/products/{inv}-{'ab' * 32}.json"
    assert keys.sha_key(ref) == f"snapshot-shas/products/{'ab' * 32}/{inv}"
    assert keys.activity_key(ref) == f"snapshot-activity/{inv}-products-{'ab' * 32}"
    assert keys.filtered_body_key(ref) == f"snapshots-filtered/products/{inv}-{'ab' * 32}.json"
    assert keys.policy_key(ref.namespace) == "snapshot-policies/products.json"
    assert keys.latest_cache_key(ref.namespace) == "latest/products"
