"""`Index` resources as Kubernetes keeps them: the policies in force, and what to say of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from services.core.ids import Namespace
from services.indexes.policy import CatalogView, PolicyProblem, SnapshotPolicy, parse_index

__all__ = ["Acceptance", "IndexResource", "IndexResources", "ResourceName"]

CONDITION: Final = "Accepted"


@dataclass(frozen=True, order=True)
class ResourceName:
    """A resource's Kubernetes namespace, which is not a Turbopuffer namespace, and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Acceptance:
    """The `Accepted` condition that a resource should have."""

    status: bool
    reason: str
    message: str
    observed_generation: int


@dataclass(frozen=True)
class IndexResource:
    """One resource: its last document, and its last good form."""

    document: Mapping[str, Any]
    policy: SnapshotPolicy | None
    problem: str | None

    @property
    def generation(self) -> int:
        return int(self.document["metadata"].get("generation", 0))

    @property
    def version(self) -> str:
        """The document's `resourceVersion`."""
        return str(self.document["metadata"].get("resourceVersion", ""))

    @property
    def created_at(self) -> str:
        return str(self.document["metadata"].get("creationTimestamp", ""))

    @property
    def status(self) -> Mapping[str, Any]:
        status = self.document.get("status")
        return status if isinstance(status, dict) else {}

    def condition(self) -> Mapping[str, Any] | None:
        """The `Accepted` condition that it has now."""
        for condition in self.status.get("conditions", []):
            if condition.get("type") == CONDITION:
                return dict(condition)
        return None

    def says(self, acceptance: Acceptance) -> bool:
        """Whether its status already says so."""
        condition = self.condition()
        return condition is not None and acceptance == Acceptance(
            condition.get("status") == "True",
            str(condition.get("reason")),
            str(condition.get("message")),
            int(condition.get("observedGeneration", 0)),
        )

    def status_with(self, acceptance: Acceptance, now: str) -> Mapping[str, Any]:
        """Its status with the condition replaced; what others have written stays.

        The time of transition changes with the condition's status only (Kubernetes API
        conventions, "Typical status properties").
        """
        status = "True" if acceptance.status else "False"
        before = self.condition()
        unchanged = before is not None and before.get("status") == status
        condition = {
            "type": CONDITION,
            "status": status,
            "reason": acceptance.reason,
            "message": acceptance.message,
            "observedGeneration": acceptance.observed_generation,
            "lastTransitionTime": before["lastTransitionTime"] if before and unchanged else now,
        }
        others = [c for c in self.status.get("conditions", []) if c.get("type") != CONDITION]
        return {**self.status, "conditions": [*others, condition]}


class IndexResources:
    """All resources by name. A bad document keeps the last good form of its resource.

    Of several that name one Turbopuffer namespace, the oldest is used: a newcomer cannot take a
    namespace over (the rule of the Kubernetes Gateway API).
    """

    def __init__(self) -> None:
        self._resources: dict[ResourceName, IndexResource] = {}

    def replace(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """These are all there are."""
        before = self._resources
        self._resources = {}
        for document in documents:
            name = name_of(document)
            self._resources[name] = _read(document, before.get(name))

    def put(self, document: Mapping[str, Any]) -> None:
        """One is new or changed."""
        name = name_of(document)
        self._resources[name] = _read(document, self._resources.get(name))

    def remove(self, document: Mapping[str, Any]) -> None:
        """One is gone, and its policy with it."""
        self._resources.pop(name_of(document), None)

    def get(self, name: ResourceName) -> IndexResource | None:
        return self._resources.get(name)

    def view(self) -> CatalogView:
        """The policies in force, and what is wrong with the others."""
        used = self._used()
        policies = {namespace: self._policy(name) for namespace, name in used.items()}
        problems = [
            PolicyProblem(str(name), acceptance.message)
            for name, acceptance in self.acceptances().items()
            if not acceptance.status
        ]
        return CatalogView(policies, problems)

    def acceptances(self) -> Mapping[ResourceName, Acceptance]:
        """What each resource's status should say."""
        used = self._used()
        return {
            name: _acceptance(name, resource, used)
            for name, resource in sorted(self._resources.items())
        }

    def _used(self) -> Mapping[Namespace, ResourceName]:
        used: dict[Namespace, ResourceName] = {}
        by_age = sorted(self._resources.items(), key=lambda item: (item[1].created_at, item[0]))
        for name, resource in by_age:
            if resource.policy is not None:
                used.setdefault(resource.policy.namespace, name)
        return used

    def _policy(self, name: ResourceName) -> SnapshotPolicy:
        policy = self._resources[name].policy
        assert policy is not None
        return policy


def name_of(document: Mapping[str, Any]) -> ResourceName:
    """Which resource a document is of."""
    metadata = document["metadata"]
    return ResourceName(str(metadata.get("namespace", "")), str(metadata["name"]))


def _read(document: Mapping[str, Any], before: IndexResource | None) -> IndexResource:
    try:
        return IndexResource(document, parse_index(document), None)
    except ValueError as error:
        # Deleted and created anew within one relist: what the old one said is gone.
        same = before is not None and _uid(before.document) == _uid(document)
        return IndexResource(document, before.policy if before and same else None, str(error))


def _uid(document: Mapping[str, Any]) -> object:
    return document["metadata"].get("uid")


def _acceptance(
    name: ResourceName, resource: IndexResource, used: Mapping[Namespace, ResourceName]
) -> Acceptance:
    acceptance = Acceptance(True, "Valid", "the policy is in force", resource.generation)
    if resource.problem is not None:
        kept = "; its last good form stays in force" if resource.policy else ""
        return replace(
            acceptance, status=False, reason="Invalid", message=f"{resource.problem}{kept}"
        )
    assert resource.policy is not None
    owner = used[resource.policy.namespace]
    if owner != name:
        message = f"{owner}, which is older, has the namespace {resource.policy.namespace!r}"
        return replace(acceptance, status=False, reason="Conflict", message=message)
    return acceptance
