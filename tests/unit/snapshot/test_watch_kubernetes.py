"""How the settings lead to a cluster's `Index` resources."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from services.snapshot.settings import SnapshotSettings
from services.snapshot.watch_kubernetes import watch_kubernetes
from tests.doubles.fake_clock import FakeClock
from tests.doubles.fake_kubernetes_api import FakeKubernetesApi

INDEX = {"apiVersion": "hevlayer.com/v1", "kind": "Index", "spec": {}}


def settings(**more: object) -> SnapshotSettings:
    return SnapshotSettings.model_validate({"object_store": "file:///unused", **more})


def kubeconfig(folder: Path, url: str) -> Path:
    file = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": {"token": "any"}}],
    }
    file.write_text(yaml.safe_dump(config))
    return file


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"kubernetes_indexes": "namespace", "kubernetes_namespace": "search"}, {"ours"}),
        ({"kubernetes_indexes": "cluster"}, {"ours", "theirs"}),
    ],
)
async def test_one_namespace_or_the_whole_cluster(
    tmp_path: Path, more: dict[str, object], expected: set[str]
) -> None:
    server = FakeKubernetesApi()
    server.apply({**INDEX, "metadata": {"name": "ours"}}, namespace="search")
    server.apply({**INDEX, "metadata": {"name": "theirs"}}, namespace="elsewhere")
    async with server.serving():
        configured = settings(kubernetes_config=kubeconfig(tmp_path, server.url), **more)
        async with watch_kubernetes(configured, FakeClock()) as catalog:
            assert set((await catalog.load()).policies) == expected


@pytest.mark.parametrize("config", [None, Path("/nonexistent/kubeconfig")])
async def test_no_way_to_the_cluster_is_said(
    config: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    configured = settings(kubernetes_indexes="cluster", kubernetes_config=config)
    with pytest.raises(RuntimeError, match="no way to the Kubernetes API"):
        async with watch_kubernetes(configured, FakeClock()):
            pass


def test_a_namespace_is_needed_where_one_is_looked_in() -> None:
    with pytest.raises(ValidationError, match="LAYER_KUBERNETES_INDEXES=namespace") as refused:
        settings(kubernetes_indexes="namespace")
    assert refused.value.errors()[0]["loc"] == ("kubernetes_namespace",)
