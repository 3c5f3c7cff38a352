"""A namespace's snapshot policy, and the `Index` resource that declares one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeVar

import msgspec

from services.core.durations import format_duration, parse_duration
from services.core.errors import LayerError
from services.core.ids import Namespace, parse_namespace

__all__ = [
    "API_VERSION",
    "DEFAULT_SCAN_THREADS",
    "CatalogView",
    "IndexCatalog",
    "PolicyProblem",
    "SnapshotPolicy",
    "check_facet_fields",
    "check_field_name",
    "parse_index",
    "parse_retention",
]

API_VERSION: Final = "hevlayer.com/v1"
DEFAULT_SCAN_THREADS: Final = 8
MAX_FACET_FIELDS: Final = 64
MAX_FIELD_BYTES: Final = 128
"""Turbopuffer's limit for attribute names (turbopuffer.com/docs/limits)."""


@dataclass(frozen=True)
class SnapshotPolicy:
    """When a namespace's snapshots are taken and how long they are kept."""

    namespace: Namespace
    facet_fields: tuple[str, ...] = ()
    """Attributes counted automatically; empty: the automatic writer is off."""
    interval_ms: int | None = None
    """Least time between automatic snapshots; None: the service's own minimum."""
    retention_ms: int | None = None
    """Bodies older than this are pruned; None: never."""
    scan_threads: int = DEFAULT_SCAN_THREADS
    """Queries in flight while every row is read."""

    @property
    def retention(self) -> str:
        """The retention as policies write it."""
        return "never" if self.retention_ms is None else format_duration(self.retention_ms)


@dataclass(frozen=True)
class PolicyProblem:
    """A document that could not be used: where it stands, and what is wrong with which field."""

    document: str
    message: str


@dataclass(frozen=True)
class CatalogView:
    """What a source says now. Of a bad document, the last good form is kept."""

    policies: Mapping[Namespace, SnapshotPolicy] = field(default_factory=dict)
    problems: Sequence[PolicyProblem] = ()


class IndexCatalog(Protocol):
    """A source of policies."""

    async def load(self) -> CatalogView:
        """Everything that the source says now.

        Raises:
            LayerError: UNAVAILABLE; what was loaded before stays in force.
        """
        ...


class _Backend(msgspec.Struct):
    namespace: str | None = None


class _Snapshot(msgspec.Struct, rename="camel"):
    interval: str | None = None
    retention: str = "never"
    facet_fields: list[str] = []


class _Scan(msgspec.Struct):
    threads: int = DEFAULT_SCAN_THREADS


class _Spec(msgspec.Struct):
    backend: _Backend = msgspec.field(default_factory=_Backend)
    snapshot: _Snapshot = msgspec.field(default_factory=_Snapshot)
    scan: _Scan = msgspec.field(default_factory=_Scan)


class _Metadata(msgspec.Struct):
    name: str


class _Index(msgspec.Struct, rename="camel"):
    api_version: Literal["hevlayer.com/v1"]
    kind: Literal["Index"]
    metadata: _Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


def parse_index(document: object) -> SnapshotPolicy:
    """The policy in an `Index` resource. Other resources' fields are ignored.

    Raises:
        ValueError: the document is no such resource; the message names the field.
    """
    try:
        index = msgspec.convert(document, _Index)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    spec = index.spec
    try:
        namespace = parse_namespace(spec.backend.namespace or index.metadata.name)
    except LayerError as error:
        raise ValueError(f"{error.message} - at `$.spec.backend.namespace`") from error
    if not 1 <= spec.scan.threads <= 32:
        raise ValueError("threads must be 1 to 32 - at `$.spec.scan.threads`")
    return SnapshotPolicy(
        namespace=namespace,
        facet_fields=_at("facetFields", check_facet_fields, spec.snapshot.facet_fields),
        interval_ms=None
        if spec.snapshot.interval is None
        else _at("interval", parse_duration, spec.snapshot.interval),
        retention_ms=_at("retention", parse_retention, spec.snapshot.retention),
        scan_threads=spec.scan.threads,
    )


def parse_retention(text: str) -> int | None:
    """Milliseconds of `never` (None) or a duration.

    Raises:
        ValueError: it is neither.
    """
    return None if text == "never" else parse_duration(text)


def check_facet_fields(fields: Sequence[str]) -> tuple[str, ...]:
    """The fields, sorted and unique.

    Raises:
        ValueError: too many, or a name that no attribute can have.
    """
    if len(fields) > MAX_FACET_FIELDS:
        raise ValueError(f"at most {MAX_FACET_FIELDS} facet fields, not {len(fields)}")
    for name in fields:
        check_field_name(name)
    return tuple(sorted(set(fields)))


def check_field_name(name: str) -> str:
    """A name that an attribute can have (turbopuffer.com/docs/limits).

    Raises:
        ValueError: it is empty, longer than 128 bytes, or starts with `$`.
    """
    if not name or name.startswith("$") or len(name.encode()) > MAX_FIELD_BYTES:
        raise ValueError(f"a field has 1 to {MAX_FIELD_BYTES} bytes and does not start with '$'")
    return name


_Value = TypeVar("_Value")
_Parsed = TypeVar("_Parsed")


def _at(name: str, parse: Callable[[_Value], _Parsed], value: _Value) -> _Parsed:
    """A parser's result; its error names the field of the snapshot section."""
    try:
        return parse(value)
    except ValueError as error:
        raise ValueError(f"{error} - at `$.spec.snapshot.{name}`") from error
