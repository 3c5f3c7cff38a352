"""What an Aerospike namespace must be like to be a cache, as its server describes it."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["namespace_problems"]


def namespace_problems(answer: str, *, nodes_reached: int) -> Iterator[str]:
    """What its operator should change, each in a sentence; nothing if it is as it should be.

    Args:
        answer: a node's answer to the info command `namespace/<name>`. Which settings it has
            depends on the server's version, and what is absent is no problem.
        nodes_reached: how many nodes the client is connected to.
    """
    pairs = (pair.partition("=") for pair in answer.rpartition("\t")[2].strip().split(";"))
    settings = {name: value for name, _, value in pairs}
    if settings.get("type") == "unknown":
        yield "there is no such namespace: nothing is cached"
        return
    if settings.get("nsup-period") == "0" and settings.get("allow-ttl-without-nsup") != "true":
        yield "records may not expire: next to nothing is cached until nsup-period is above 0"
    if _is_persistent(settings):
        yield (
            "it brings back older values after a crash, so that documents may be served as they "
            "were before a write: use storage-engine memory, without files or devices"
        )
    if settings.get("storage-engine.evict-used-pct") == "0":
        yield (
            "it takes nothing new once it is full: set evict-used-pct, below stop-writes-used-pct"
        )
    nodes = int(settings.get("ns_cluster_size", nodes_reached))
    if nodes > nodes_reached:
        yield (
            f"{nodes_reached} of its {nodes} nodes are reached: the others are down, or their "
            "access-address is not for clients here"
        )
    if nodes > 1 and settings.get("conflict-resolution-policy") == "generation":
        yield (
            "older values may win when a split cluster comes together: set "
            "conflict-resolution-policy last-update-time"
        )


def _is_persistent(settings: dict[str, str]) -> bool:
    backed = any(
        name.startswith(("storage-engine.file[", "storage-engine.device[")) for name in settings
    )
    return backed or settings.get("storage-engine", "memory") != "memory"
