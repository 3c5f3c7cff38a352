"""Which namespaces make a poor cache. The answers are a server's, shortened."""

from __future__ import annotations

import pytest

from services.cache.aerospike_namespace import namespace_problems

GOOD = {
    "ns_cluster_size": "1",
    "objects": "0",
    "allow-ttl-without-nsup": "false",
    "conflict-resolution-policy": "generation",
    "default-ttl": "2592000",
    "nsup-period": "10",
    "storage-engine": "memory",
    "storage-engine.stripe[0]": "stripe-0",
    "storage-engine.evict-used-pct": "60",
}


def problems_of(settings: dict[str, str], *, nodes_reached: int = 2) -> list[str]:
    pairs = ";".join(f"{name}={value}" for name, value in settings.items())
    return list(namespace_problems(f"namespace/layer\t{pairs}\n", nodes_reached=nodes_reached))


def test_a_good_one_has_none() -> None:
    assert problems_of(GOOD) == []


def test_what_a_server_does_not_tell_is_no_problem() -> None:
    assert problems_of({"objects": "0"}) == []
    assert list(namespace_problems("", nodes_reached=1)) == []


def test_an_unknown_one_has_only_that_problem() -> None:
    answers = list(namespace_problems("namespace/layer\ttype=unknown\n", nodes_reached=1))
    assert answers == ["there is no such namespace: nothing is cached"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"nsup-period": "0"}, "nsup-period"),
        ({"storage-engine": "device", "storage-engine.file[0]": "/a.dat"}, "storage-engine"),
        ({"storage-engine.file[0]": "/a.dat"}, "storage-engine"),
        ({"storage-engine.device[0]": "/dev/a"}, "storage-engine"),
        ({"storage-engine.evict-used-pct": "0"}, "evict-used-pct"),
        ({"ns_cluster_size": "2"}, "conflict-resolution-policy"),
    ],
)
def test_each_problem_says_what_to_change(changes: dict[str, str], word: str) -> None:
    (problem,) = problems_of(GOOD | changes)
    assert word in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"nsup-period": "0", "allow-ttl-without-nsup": "true"},
        {"ns_cluster_size": "2", "conflict-resolution-policy": "last-update-time"},
    ],
)
def test_what_makes_up_for_it_is_no_problem(changes: dict[str, str]) -> None:
    assert problems_of(GOOD | changes) == []


def test_nodes_that_are_not_reached_are_a_problem() -> None:
    cluster = GOOD | {"ns_cluster_size": "3", "conflict-resolution-policy": "last-update-time"}
    assert problems_of(cluster, nodes_reached=3) == []
    (problem,) = problems_of(cluster, nodes_reached=2)
    assert problem.startswith("2 of its 3 nodes are reached")
