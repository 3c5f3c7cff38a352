"""Policies from `Index` custom resources, through the real client and a server of the test's."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes_asyncio.client import ApiClient, Configuration

from services.core.ids import Namespace
from services.core.tasks import running
from services.indexes.kubernetes_api import IndexApi, KubernetesError
from services.indexes.kubernetes_catalog import KubernetesIndexCatalog
from services.indexes.policy import CatalogView, SnapshotPolicy
from tests.doubles.fake_clock import FakeClock
from tests.doubles.fake_kubernetes_api import FakeKubernetesApi

Fields = Mapping[str, tuple[str, ...]]


def index(name: str, *fields: str, **backend: str) -> dict[str, Any]:
    return {
        "apiVersion": "hevlayer.com/v1",
        "kind": "Index",
        "metadata": {"name": name},
        "spec": {"backend": backend, "snapshot": {"facetFields": list(fields)}},
    }


def bad(name: str) -> dict[str, Any]:
    document = index(name, "b")
    document["spec"]["snapshot"]["interval"] = "soon"
    return document


class Cluster:
    """The server, and a catalog that looks at it."""

    def __init__(self) -> None:
        self.server = FakeKubernetesApi()
        self.clock = FakeClock()

    @asynccontextmanager
    async def catalog(
        self, namespace: str | None = "search", watch_seconds: int = 290
    ) -> AsyncIterator[KubernetesIndexCatalog]:
        configuration = Configuration(host=self.server.url)
        async with ApiClient(configuration) as client:
            api = IndexApi(client, namespace=namespace, watch_seconds=watch_seconds)
            yield KubernetesIndexCatalog(api, self.clock, random.Random(1))

    @asynccontextmanager
    async def watched(
        self, namespace: str | None = "search"
    ) -> AsyncIterator[KubernetesIndexCatalog]:
        """A catalog that runs, and watches already."""
        async with self.catalog(namespace) as catalog, running(catalog.run()):
            await self.until(lambda: self.server.watching == 1)
            yield catalog

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10.0):
            while not condition():  # noqa: ASYNC110 - the server's state, over HTTP
                await asyncio.sleep(0.002)

    async def until_fields(self, catalog: KubernetesIndexCatalog, expected: Fields) -> None:
        """Wait until the catalog says so."""
        async with asyncio.timeout(10.0):
            while fields(await catalog.load()) != expected:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.002)

    async def until_accepted(self, name: str, status: str) -> dict[str, Any]:
        """Wait for the resource's condition, and give it."""
        await self.until(lambda: (self.server.condition(name) or {}).get("status") == status)
        condition = self.server.condition(name)
        assert condition is not None
        return condition


def fields(view: CatalogView) -> Fields:
    return {str(namespace): policy.facet_fields for namespace, policy in view.policies.items()}


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    cluster = Cluster()
    async with cluster.server.serving():
        yield cluster


async def test_the_first_load_lists(cluster: Cluster) -> None:
    cluster.server.apply(index("movies", "genres"))
    cluster.server.apply(index("other", "x"), namespace="elsewhere")
    async with cluster.catalog() as catalog:
        view = await catalog.load()
        assert view == CatalogView(
            {Namespace("movies"): SnapshotPolicy(Namespace("movies"), ("genres",))}, []
        )
        await catalog.load()
        assert cluster.server.lists == 1


async def test_the_whole_cluster(cluster: Cluster) -> None:
    cluster.server.apply(index("movies", "genres"))
    cluster.server.apply(index("other", "x"), namespace="elsewhere")
    async with cluster.watched(namespace=None) as catalog:
        await cluster.until_fields(catalog, {"movies": ("genres",), "other": ("x",)})
        cluster.server.apply(index("third", "y"), namespace="new")
        await cluster.until_fields(
            catalog, {"movies": ("genres",), "other": ("x",), "third": ("y",)}
        )


async def test_a_long_list_comes_in_pages(cluster: Cluster) -> None:
    for number in range(1001):
        cluster.server.apply(index(f"n{number}", "a"))
    async with cluster.catalog() as catalog:
        assert len((await catalog.load()).policies) == 1001
        assert cluster.server.lists == 3


async def test_changes_are_followed(cluster: Cluster) -> None:
    async with cluster.watched() as catalog:
        cluster.server.apply(index("movies", "a"))
        await cluster.until_fields(catalog, {"movies": ("a",)})
        cluster.server.apply(index("movies", "b"))
        await cluster.until_fields(catalog, {"movies": ("b",)})
        cluster.server.apply(index("alias", "c", namespace="real"))
        await cluster.until_fields(catalog, {"movies": ("b",), "real": ("c",)})
        cluster.server.delete("movies")
        await cluster.until_fields(catalog, {"real": ("c",)})
        assert cluster.server.lists == 1


async def test_a_watch_that_ends_as_agreed_is_resumed_without_a_list(cluster: Cluster) -> None:
    cluster.server.apply(index("movies", "a"))
    async with cluster.watched() as catalog:
        await cluster.until_accepted("movies", "True")
        for number in range(3):
            cluster.server.end_watches()
            cluster.server.apply(index("movies", f"v{number}"))
            await cluster.until_fields(catalog, {"movies": (f"v{number}",)})
            await cluster.until(lambda: cluster.server.watching == 1)
        assert len(cluster.server.watch_versions) == 4
        assert cluster.server.lists == 1


async def test_bookmarks_move_the_version_that_a_watch_resumes_from(cluster: Cluster) -> None:
    async with cluster.watched() as catalog:
        cluster.server.bookmark()
        version = cluster.server.version
        cluster.server.end_watches()
        await cluster.until(lambda: len(cluster.server.watch_versions) == 2)
        assert cluster.server.watch_versions[1] == version
        cluster.server.apply(index("movies", "a"))
        await cluster.until_fields(catalog, {"movies": ("a",)})
        assert cluster.server.lists == 1


async def test_an_expired_version_is_listed_again(cluster: Cluster) -> None:
    cluster.server.apply(index("old", "a"))
    async with cluster.watched() as catalog:
        await cluster.until_accepted("old", "True")
        cluster.server.expire()
        cluster.server.delete("old")
        cluster.server.apply(index("new", "b"))
        await cluster.until_fields(catalog, {"new": ("b",)})
        assert cluster.server.lists == 2


@pytest.mark.parametrize(
    "line",
    [
        b"<html>bad gateway</html>\n",
        b'{"type": "MODIFIED"}\n',
        b'{"type": "MODIFIED", "object": {"metadata": {}}}\n',
        b'{"type": "ERROR", "object": {}}\n',
        b'{"type": "BOOKMARK", "object": {}}\n',
        b'{"kind": "Status", "code": 500, "reason": "InternalError", "message": "etcd"}\n',
        b"[1]\n",
    ],
)
async def test_what_is_no_event_breaks_the_watch_and_nothing_else(
    cluster: Cluster, line: bytes
) -> None:
    cluster.server.apply(index("movies", "a"))
    async with cluster.watched() as catalog:
        cluster.server.send_raw(line)
        await cluster.until(lambda: cluster.server.lists == 2)
        cluster.server.apply(index("movies", "b"))
        await cluster.until_fields(catalog, {"movies": ("b",)})


async def test_a_dropped_connection_is_listed_again(cluster: Cluster) -> None:
    async with cluster.watched() as catalog:
        cluster.server.drop_watches()
        cluster.server.apply(index("movies", "a"))
        await cluster.until_fields(catalog, {"movies": ("a",)})
        await cluster.until(lambda: cluster.server.lists == 2)


async def test_an_outage_keeps_the_view_and_backs_off_within_bounds(cluster: Cluster) -> None:
    cluster.server.apply(index("movies", "a"))
    async with cluster.watched() as catalog:
        cluster.clock.slept.clear()
        cluster.server.down = True
        cluster.server.drop_watches()
        await cluster.until(lambda: len(cluster.clock.slept) >= 30)
        assert fields(await catalog.load()) == {"movies": ("a",)}
        cluster.server.down = False
        cluster.server.apply(index("movies", "b"))
        await cluster.until_fields(catalog, {"movies": ("b",)})
    waits = cluster.clock.slept
    assert max(waits) <= 60.0
    assert max(waits) > 20.0
    assert max(waits[:2]) <= 4.0
    assert len(set(waits)) == len(waits)


async def test_without_an_answer_there_is_no_view(cluster: Cluster) -> None:
    cluster.server.down = True
    async with cluster.catalog() as catalog:
        with pytest.raises(KubernetesError, match="503"):
            await catalog.load()
        cluster.server.down = False
        assert (await catalog.load()).policies == {}


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    cluster = Cluster()
    cluster.server.url = "http://127.0.0.1:1"
    async with cluster.catalog() as catalog:
        with pytest.raises(KubernetesError):
            await catalog.load()


async def test_a_bad_document_keeps_its_last_good_form_and_is_reported(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="services.indexes")
    cluster.server.apply(index("movies", "a"))
    async with cluster.watched() as catalog:
        cluster.server.apply(bad("movies"))
        condition = await cluster.until_accepted("movies", "False")
        assert condition["reason"] == "Invalid"
        assert "$.spec.snapshot.interval" in condition["message"]
        assert "last good form" in condition["message"]
        assert condition["observedGeneration"] == 2
        view = await catalog.load()
        assert fields(view) == {"movies": ("a",)}
        assert [problem.document for problem in view.problems] == ["search/movies"]
        refused = [r for r in caplog.records if r.message == "index resource refused"]
        assert len(refused) == 1
        assert refused[0].__dict__["document"] == "search/movies"
        assert "$.spec.snapshot.interval" in refused[0].__dict__["problem"]

        # The last good form outlives a new list.
        cluster.server.drop_watches()
        await cluster.until(lambda: cluster.server.lists == 2)
        assert fields(await catalog.load()) == {"movies": ("a",)}

        cluster.server.apply(index("movies", "c"))
        assert (await cluster.until_accepted("movies", "True"))["observedGeneration"] == 3
        assert (await catalog.load()).problems == []


async def test_a_document_that_never_was_good_has_no_policy(cluster: Cluster) -> None:
    cluster.server.apply(bad("movies"))
    async with cluster.watched() as catalog:
        condition = await cluster.until_accepted("movies", "False")
        assert "last good form" not in condition["message"]
        assert fields(await catalog.load()) == {}


async def test_a_new_resource_does_not_inherit_from_one_that_was_deleted(
    cluster: Cluster,
) -> None:
    cluster.server.apply(index("movies", "a"))
    async with cluster.watched() as catalog:
        await cluster.until_fields(catalog, {"movies": ("a",)})
        cluster.server.drop_watches()
        cluster.server.delete("movies")
        cluster.server.apply(bad("movies"))
        await cluster.until_fields(catalog, {})


async def test_of_two_that_name_a_namespace_the_older_is_used(cluster: Cluster) -> None:
    cluster.server.apply(index("zebra", "old", namespace="movies"))
    cluster.server.apply(index("aardvark", "new", namespace="movies"))
    async with cluster.watched() as catalog:
        condition = await cluster.until_accepted("aardvark", "False")
        assert condition["reason"] == "Conflict"
        assert "search/zebra" in condition["message"]
        assert fields(await catalog.load()) == {"movies": ("old",)}
        cluster.server.delete("zebra")
        await cluster.until_accepted("aardvark", "True")
        assert fields(await catalog.load()) == {"movies": ("new",)}


async def test_a_status_is_written_only_when_it_changes(cluster: Cluster) -> None:
    cluster.server.apply(index("movies", "a"))
    cluster.server.resources[("search", "movies")]["status"] = {
        "conditions": [{"type": "Synced", "status": "True"}],
        "phase": "x",
    }
    async with cluster.watched():
        first = await cluster.until_accepted("movies", "True")
        assert first["lastTransitionTime"] == "2026-09-21T14:13:20Z"
        cluster.clock.advance(60)
        cluster.server.apply(index("movies", "b"))
        await cluster.until(lambda: len(cluster.server.patches) == 2)
        second = cluster.server.condition("movies")
        assert second == first | {"observedGeneration": 2}
        status = cluster.server.resources[("search", "movies")]["status"]
        assert status["phase"] == "x"
        assert [c["type"] for c in status["conditions"]] == ["Synced", "Accepted"]
    # Neither a restart nor another replica writes it again.
    async with cluster.watched() as catalog:
        cluster.server.apply(index("other", "a"))
        await cluster.until_accepted("other", "True")
        await catalog.load()
    assert [name for name, _ in cluster.server.patches] == ["movies", "movies", "other"]


async def test_a_status_that_cannot_be_written_stops_nothing(cluster: Cluster) -> None:
    cluster.server.forbid_status = True
    cluster.server.apply(index("movies", "a"))
    async with cluster.watched() as catalog:
        cluster.server.apply(index("movies", "b"))
        await cluster.until_fields(catalog, {"movies": ("b",)})
        for _ in range(5):
            cluster.server.touch("movies")
        cluster.server.apply(index("last", "c"))
        await cluster.until_fields(catalog, {"movies": ("b",), "last": ("c",)})
        assert cluster.server.lists == 1
        # One try for what each has to be told, however often it changes.
        assert cluster.server.status_requests <= 3
        cluster.server.forbid_status = False
        cluster.server.drop_watches()
        await cluster.until_accepted("movies", "True")


async def test_a_status_written_to_a_resource_that_changed_meanwhile_is_written_again(
    cluster: Cluster,
) -> None:
    cluster.server.apply(index("movies", "a"))
    server = cluster.server

    def change_once() -> None:
        server.before_patch = lambda: None
        server.touch("movies")

    server.before_patch = change_once
    async with cluster.watched():
        await cluster.until_accepted("movies", "True")
        assert (server.status_requests, len(server.patches)) == (2, 1)


async def test_the_catalog_ends_at_once_when_its_task_is_cancelled(cluster: Cluster) -> None:
    async with asyncio.timeout(2.0):
        async with cluster.watched():
            pass
    await cluster.until(lambda: cluster.server.watching == 0)
