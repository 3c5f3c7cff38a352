"""Policies from files and the API: precedence, errors, and what stays in force."""

from pathlib import Path

import pytest
import yaml

from services.core.ids import Namespace
from services.indexes.file_catalog import FileIndexCatalog
from services.indexes.policies import Policies
from services.indexes.policy import SnapshotPolicy, parse_index
from services.indexes.stored_policies import StoredPolicies
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_object_store import MemoryObjectStore

NS = Namespace("movies")


def index(name: str = "movies", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "hevlayer.com/v1",
        "kind": "Index",
        "metadata": {"name": name, "labels": {"team": "search"}},
        "spec": spec,
    }


def test_a_whole_resource() -> None:
    document = index(
        "any",
        backend={"namespace": "movies"},
        snapshot={"interval": "5m", "retention": "30d", "facetFields": ["b", "a", "b"]},
        scan={"threads": 4},
    )
    assert parse_index(document) == SnapshotPolicy(NS, ("a", "b"), 300_000, 2_592_000_000, 4)


def test_defaults() -> None:
    assert parse_index(index()) == SnapshotPolicy(NS, (), None, None, 8)


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (index(snapshot={"interval": "5x"}), "$.spec.snapshot.interval"),
        (index(snapshot={"retention": "ever"}), "$.spec.snapshot.retention"),
        (index(snapshot={"facetFields": [""]}), "$.spec.snapshot.facetFields"),
        (index(snapshot={"facetFields": "genres"}), "$.spec.snapshot.facetFields"),
        (index(snapshot={"facetFields": ["x" * 129]}), "$.spec.snapshot.facetFields"),
        (index(scan={"threads": 33}), "$.spec.scan.threads"),
        (index(backend={"namespace": "a/b"}), "$.spec.backend.namespace"),
        (index() | {"kind": "Pod"}, "$.kind"),
        (index() | {"apiVersion": "v1"}, "$.apiVersion"),
        ({"kind": "Index"}, "apiVersion"),
        (["not", "an", "object"], "object"),
    ],
)
def test_an_error_names_the_field(document: object, where: str) -> None:
    with pytest.raises(ValueError, match=where.replace("$", "\\$")):
        parse_index(document)


async def test_a_bad_document_keeps_its_last_good_form(tmp_path: Path) -> None:
    file = tmp_path / "movies.yaml"
    file.write_text(yaml.safe_dump(index(snapshot={"facetFields": ["a"]})))
    catalog = FileIndexCatalog(tmp_path)
    assert (await catalog.load()).policies[NS].facet_fields == ("a",)
    for bad in (yaml.safe_dump(index(snapshot={"interval": "x"})), "{not: [yaml"):
        file.write_text(bad)
        view = await catalog.load()
        assert view.policies[NS].facet_fields == ("a",)
        assert view.problems[0].document.startswith("movies.yaml")
    file.write_text(yaml.safe_dump(index(snapshot={"facetFields": ["b"]})))
    assert (await catalog.load()).policies[NS].facet_fields == ("b",)
    file.unlink()
    assert (await catalog.load()).policies == {}


async def test_several_documents_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "all.yml").write_text(yaml.safe_dump_all([index("one"), None, index("two")]))
    (tmp_path / "notes.txt").write_text("not a policy")
    assert set((await FileIndexCatalog(tmp_path).load()).policies) == {"one", "two"}


async def test_the_api_wins_over_files_and_survives_a_restart(tmp_path: Path) -> None:
    document = index(snapshot={"facetFields": ["a"]}, scan={"threads": 3})
    (tmp_path / "movies.yaml").write_text(yaml.safe_dump(document))
    store = MemoryObjectStore()

    def policies() -> Policies:
        return Policies(
            [FileIndexCatalog(tmp_path)], StoredPolicies(store), FakeClock(), refresh_seconds=1
        )

    first = policies()
    await first.refresh()
    assert first.current()[NS].facet_fields == ("a",)
    own = SnapshotPolicy(NS, ("z",), 60_000, 86_400_000)
    await first.put(own)
    expected = SnapshotPolicy(NS, ("z",), 60_000, 86_400_000, scan_threads=3)
    assert first.current()[NS] == expected
    second = policies()
    await second.refresh()
    assert second.current()[NS] == expected
    assert await second.get(NS) == expected


async def test_a_source_that_fails_keeps_its_last_view(tmp_path: Path) -> None:
    folder = tmp_path / "indexes"
    folder.mkdir()
    (folder / "movies.yaml").write_text(yaml.safe_dump(index(snapshot={"facetFields": ["a"]})))
    policies = Policies(
        [FileIndexCatalog(folder)],
        StoredPolicies(MemoryObjectStore()),
        FakeClock(),
        refresh_seconds=1,
    )
    await policies.refresh()
    folder.rename(tmp_path / "elsewhere")
    await policies.refresh()
    assert policies.current()[NS].facet_fields == ("a",)


async def test_a_broken_stored_policy_is_reported_and_stops_no_other() -> None:
    store = MemoryObjectStore()
    stored = StoredPolicies(store)
    await stored.put(SnapshotPolicy(NS, ("a",)))
    await store.put("snapshot-policies/broken.json", b"{")
    view = await stored.load()
    assert set(view.policies) == {NS}
    assert [problem.document for problem in view.problems] == ["snapshot-policies/broken.json"]
