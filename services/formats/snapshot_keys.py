"""Object keys of snapshots: the one place that builds and reads them.

`inv` is 9999999999999 minus the watermark in epoch milliseconds, 13 digits, so that ascending key
order is newest first and a page of history is one listing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.core.ids import Namespace

__all__ = [
    "SHA_LENGTH",
    "SnapshotRef",
    "activity_key",
    "activity_prefix",
    "body_key",
    "filtered_body_key",
    "history_prefix",
    "inverted",
    "latest_cache_key",
    "lease_key",
    "lease_prefix",
    "parse_activity_key",
    "parse_body_key",
    "parse_lease_key",
    "parse_sha_key",
    "policy_key",
    "policy_prefix",
    "sha_key",
    "sha_prefix",
]

SHA_LENGTH: Final = 64
_LAST_MS: Final = 9_999_999_999_999
_BODY = re.compile(r"(?P<inv>\d{13})-(?P<sha>[0-9a-f]{64})\.json")
_ACTIVITY = re.compile(
    r"(?P<inv>\d{13})-(?P<namespace>[A-Za-z0-9._-]{1,128})-(?P<sha>[0-9a-f]{64})"
)
_SHA = re.compile(r"(?P<sha>[0-9a-f]{64})/(?P<inv>\d{13})")
_LEASE = re.compile(r"\d{16}")


@dataclass(frozen=True, order=True)
class SnapshotRef:
    """Which snapshot: all that its keys say."""

    namespace: Namespace
    watermark_ms: int
    sha: str


def inverted(watermark_ms: int) -> str:
    """The time as it stands in keys: later is smaller."""
    return f"{_LAST_MS - min(max(watermark_ms, 0), _LAST_MS):013d}"


def history_prefix(namespace: Namespace) -> str:
    return f"snapshots/{namespace}/"


def body_key(ref: SnapshotRef) -> str:
    return f"{history_prefix(ref.namespace)}{inverted(ref.watermark_ms)}-{ref.sha}.json"


def filtered_body_key(ref: SnapshotRef) -> str:
    """A body that was counted with filters: readable by sha, never in the history."""
    return f"snapshots-filtered/{ref.namespace}/{inverted(ref.watermark_ms)}-{ref.sha}.json"


def sha_prefix(namespace: Namespace, digits: str) -> str:
    """Lists what a sha, or the first digits of one, may mean."""
    return f"snapshot-shas/{namespace}/{digits}"


def sha_key(ref: SnapshotRef) -> str:
    return f"{sha_prefix(ref.namespace, ref.sha)}/{inverted(ref.watermark_ms)}"


def activity_prefix() -> str:
    return "snapshot-activity/"


def activity_key(ref: SnapshotRef) -> str:
    return f"{activity_prefix()}{inverted(ref.watermark_ms)}-{ref.namespace}-{ref.sha}"


def policy_prefix() -> str:
    return "snapshot-policies/"


def policy_key(namespace: Namespace) -> str:
    return f"{policy_prefix()}{namespace}.json"


def latest_cache_key(namespace: Namespace) -> str:
    """Where the cache mirrors the newest body."""
    return f"latest/{namespace}"


def lease_prefix(namespace: Namespace) -> str:
    return f"snapshot-leases/{namespace}/"


def lease_key(namespace: Namespace, generation: int) -> str:
    """One generation of a namespace's lease; ascending key order is the order of generations."""
    return f"{lease_prefix(namespace)}{generation:016d}"


def parse_lease_key(namespace: Namespace, key: str) -> int | None:
    """The generation that a key under `snapshot-leases/{namespace}/` is; None for a foreign key."""
    name = key.removeprefix(lease_prefix(namespace))
    return int(name) if _LEASE.fullmatch(name) else None


def parse_body_key(namespace: Namespace, key: str) -> SnapshotRef | None:
    """What a key under `snapshots/{namespace}/` names; None for a foreign key."""
    match = _BODY.fullmatch(key.rpartition("/")[2])
    return _ref(namespace, match) if match else None


def parse_sha_key(namespace: Namespace, key: str) -> SnapshotRef | None:
    """What a key under `snapshot-shas/{namespace}/` names; None for a foreign key."""
    match = _SHA.fullmatch(key.removeprefix(sha_prefix(namespace, "")))
    return _ref(namespace, match) if match else None


def parse_activity_key(key: str) -> SnapshotRef | None:
    """What a key under `snapshot-activity/` names; None for a foreign key."""
    match = _ACTIVITY.fullmatch(key.removeprefix(activity_prefix()))
    return _ref(Namespace(match["namespace"]), match) if match else None


def _ref(namespace: Namespace, match: re.Match[str]) -> SnapshotRef:
    return SnapshotRef(namespace, _LAST_MS - int(match["inv"]), match["sha"])
