"""The manifests say what the programs understand: names, values, ports, permissions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from services.indexes import kubernetes_api
from services.indexes.index_resources import IndexResources, ResourceName
from services.indexes.policy import parse_index
from tests.unit.deploy.environment import server_settings, variables

DEPLOY = Path(__file__).parents[3] / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
CLUSTER_WIDE = DEPLOY / "kubernetes" / "cluster-wide"
SERVERS = ("gateway", "snapshot", "history", "searchlog", "document")
AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

Document = dict[str, Any]


def documents(file: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def of_kind(file: Path, *kinds: str) -> Document:
    found = [document for document in documents(file) if document["kind"] in kinds]
    assert len(found) == 1
    return found[0]


def workload(server: str) -> Document:
    return of_kind(BASE / f"{server}.yaml", "Deployment", "StatefulSet")


def container(server: str) -> Document:
    containers: list[Document] = workload(server)["spec"]["template"]["spec"]["containers"]
    assert len(containers) == 1
    return containers[0]


def example() -> dict[str, str]:
    lines = (DEPLOY / "kubernetes" / "layer.env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def environment(server: str) -> dict[str, str]:
    """A container's own variables; what only the cluster knows has some value."""
    return {v["name"]: v.get("value", "some-value") for v in container(server).get("env", [])}


def known(server: str) -> None:
    if server not in server_settings():
        pytest.skip(f"{server} has no settings")


@pytest.mark.parametrize("file", sorted(DEPLOY.rglob("*.yaml")), ids=lambda file: file.name)
def test_every_file_is_yaml_of_named_resources(file: Path) -> None:
    for document in documents(file):
        if "apiVersion" in document and document["kind"] != "Kustomization":
            assert document["kind"]
            assert document["metadata"]["name"]


def test_every_manifest_is_used() -> None:
    for folder in (BASE, CLUSTER_WIDE):
        files = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}
        resources = documents(folder / "kustomization.yaml")[0]["resources"]
        assert {name for name in resources if name.endswith(".yaml")} == files


@pytest.mark.parametrize("server", SERVERS)
def test_a_container_sets_all_that_its_program_needs_and_only_what_it_reads(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(server)
    settings = server_settings()[server]
    own = environment(server)
    assert set(own) <= variables(settings)
    for name in [name for name in os.environ if name.startswith(("LAYER_", "TURBOPUFFER_"))]:
        monkeypatch.delenv(name)
    for name, value in {**example(), **own}.items():
        monkeypatch.setenv(name, value)
    settings()


def test_the_example_of_the_secret_holds_only_what_some_program_reads() -> None:
    assert set(example()) <= variables(*server_settings().values()) | AWS


def test_compose_sets_only_what_some_program_reads() -> None:
    for server in SERVERS:
        known(server)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    set_ = {
        name
        for service in compose["services"].values()
        if service.get("image") == "layer"
        for name in service["environment"]
    }
    assert set_
    assert set_ <= variables(*server_settings().values()) | AWS


def test_the_cache_that_compose_names_is_the_one_it_runs() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    cache = urlsplit(compose["services"]["document"]["environment"]["LAYER_CACHE"])
    server = compose["services"][cache.hostname]
    (volume,) = server["volumes"]
    source, target, _ = volume.split(":")
    assert server["command"] == ["asd", "--config-file", target]
    configuration = (DEPLOY / source).read_text()
    assert f"namespace {cache.path.strip('/')} {{" in configuration
    assert f"port {cache.port}\n" in configuration


@pytest.mark.parametrize("server", SERVERS)
def test_ports_and_labels_agree(server: str) -> None:
    known(server)
    fields = server_settings()[server].model_fields
    port = fields["port" if server == "gateway" else f"{server}_port"].default
    spec = container(server)
    assert spec["args"] == [server]
    metrics = environment(server)["LAYER_METRICS_PORT"]
    assert [each["containerPort"] for each in spec["ports"]] == [port, int(metrics)]
    scraped = workload(server)["spec"]["template"]["metadata"]["annotations"]
    assert scraped == {"prometheus.io/scrape": "true", "prometheus.io/port": metrics}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert spec[probe].get("grpc", spec[probe].get("httpGet"))["port"] == port
    labels = {"app.kubernetes.io/component": server}
    service = of_kind(BASE / f"{server}.yaml", "Service")
    template = workload(server)["spec"]
    assert service["spec"]["selector"] == labels
    assert template["selector"]["matchLabels"] == labels
    assert template["template"]["metadata"]["labels"] == labels
    budget = of_kind(BASE / f"{server}.yaml", "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == labels
    if server != "gateway":
        # The ring hash needs every replica's address.
        assert service["spec"]["clusterIP"] == "None"
        assert [each["port"] for each in service["spec"]["ports"]] == [port]


@pytest.mark.parametrize("server", ["gateway", "document"])
def test_addresses_are_those_of_services(server: str) -> None:
    addresses = {v for name, v in environment(server).items() if name.endswith("_ADDRESS")}
    assert addresses
    assert addresses <= set(_service_addresses())


def _service_addresses() -> Iterator[str]:
    for server in SERVERS:
        service = of_kind(BASE / f"{server}.yaml", "Service")
        for port in service["spec"]["ports"]:
            yield f"{service['metadata']['name']}:{port['port']}"


@pytest.mark.parametrize("server", SERVERS)
def test_pods_are_confined(server: str) -> None:
    pod = workload(server)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"--uid {pod['securityContext']['runAsUser']}" in dockerfile
    assert container(server)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Service links would set LAYER_SNAPSHOT_PORT and others to URLs.
    assert pod["enableServiceLinks"] is False
    assert pod.get("automountServiceAccountToken", True) is (server == "snapshot")


def test_a_pod_is_given_the_time_that_its_drain_takes() -> None:
    drain_seconds = float(environment("snapshot")["LAYER_DRAIN_SECONDS"])
    pod = workload("snapshot")["spec"]["template"]["spec"]
    pause_seconds = float(container("snapshot")["lifecycle"]["preStop"]["exec"]["command"][1])
    # And 5 s for leases, 2 s for readers, 1 s for the last calls.
    assert pod["terminationGracePeriodSeconds"] > drain_seconds + pause_seconds + 8


def test_the_spool_is_on_the_volume() -> None:
    searchlog = workload("searchlog")
    assert searchlog["kind"] == "StatefulSet"
    claim = searchlog["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    mounts = {m["mountPath"]: m["name"] for m in container("searchlog")["volumeMounts"]}
    assert mounts[environment("searchlog")["LAYER_SPOOL_DIR"]] == claim


@pytest.mark.parametrize("file", [BASE / "rbac.yaml", CLUSTER_WIDE / "rbac.yaml"])
def test_permissions_are_those_that_the_catalog_uses(file: Path) -> None:
    role = of_kind(file, "Role", "ClusterRole")
    group, plural = kubernetes_api.GROUP, kubernetes_api.PLURAL
    assert role["rules"] == [
        {"apiGroups": [group], "resources": [plural], "verbs": ["list", "watch"]},
        {"apiGroups": [group], "resources": [f"{plural}/status"], "verbs": ["patch"]},
    ]
    binding = of_kind(file, "RoleBinding", "ClusterRoleBinding")
    assert binding["roleRef"]["kind"] == role["kind"]
    account = of_kind(BASE / "rbac.yaml", "ServiceAccount")["metadata"]["name"]
    assert binding["subjects"][0]["name"] == account
    assert workload("snapshot")["spec"]["template"]["spec"]["serviceAccountName"] == account


def crd_version() -> Document:
    crd = documents(DEPLOY / "index-crd.yaml")[0]
    names, spec = crd["spec"]["names"], crd["spec"]
    assert (spec["group"], names["plural"]) == (kubernetes_api.GROUP, kubernetes_api.PLURAL)
    assert crd["metadata"]["name"] == f"{kubernetes_api.PLURAL}.{kubernetes_api.GROUP}"
    version: Document = spec["versions"][0]
    assert version["name"] == kubernetes_api.VERSION
    return version


SPEC: dict[str, dict[str, object]] = {
    "backend": {"namespace": "movies"},
    "snapshot": {"interval": "5m", "retention": "30d", "facetFields": ["genres"]},
    "scan": {"threads": 8},
}


@pytest.mark.parametrize(
    ("section", "field", "value", "good"),
    [
        ("scan", "threads", 1, True),
        ("scan", "threads", 32, True),
        ("scan", "threads", 33, False),
        ("scan", "threads", 0, False),
        ("snapshot", "interval", "90ms", True),
        ("snapshot", "interval", "5 m", False),
        ("snapshot", "retention", "never", True),
        ("snapshot", "retention", "ever", False),
        ("snapshot", "facetFields", [], True),
        ("snapshot", "facetFields", [""], False),
        ("snapshot", "facetFields", ["$dist"], False),
        ("snapshot", "facetFields", ["x" * 129], False),
        ("backend", "namespace", "a/b", False),
        ("backend", "namespace", "Movies_2.0-x", True),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(
    section: str, field: str, value: object, good: bool
) -> None:
    schema = crd_version()["schema"]["openAPIV3Schema"]
    spec = {**SPEC, section: {**SPEC[section], field: value}}
    document = {
        "apiVersion": "hevlayer.com/v1",
        "kind": "Index",
        "metadata": {"name": "movies"},
        "spec": spec,
    }
    assert jsonschema.Draft4Validator(schema).is_valid({"spec": spec}) is good
    try:
        parse_index(document)
    except ValueError:
        assert not good
    else:
        assert good


def test_the_status_that_is_written_fits_the_schema() -> None:
    version = crd_version()
    assert version["subresources"] == {"status": {}}
    resources = IndexResources()
    resources.put({"metadata": {"name": "movies", "namespace": "search", "generation": 3}})
    name = ResourceName("search", "movies")
    resource = resources.get(name)
    assert resource is not None
    status = resource.status_with(resources.acceptances()[name], "2026-09-21T14:13:20Z")
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    jsonschema.Draft4Validator(schema).validate(status)
    written = set(status["conditions"][0])
    assert written == set(schema["properties"]["conditions"]["items"]["properties"])
