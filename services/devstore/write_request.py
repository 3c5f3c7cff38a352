"""A write request's body: what is known of it, and its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.devstore.errors import DevstoreError

__all__ = ["WriteRequest", "parse_write_request"]

_METRICS: Final = ("cosine_distance", "euclidean_squared")
_DATA: Final = (
    "upsert_rows", "upsert_columns", "patch_rows", "patch_columns", "deletes",
    "delete_by_filter", "patch_by_filter", "copy_from_namespace", "branch_from_namespace",
)  # fmt: skip
_KNOWN: Final = frozenset(
    {
        *_DATA, "delete_by_filter_allow_partial", "patch_by_filter_allow_partial", "schema",
        "distance_metric", "return_affected_ids", "disable_backpressure", "encryption",
        "create_namespace", "upsert_condition", "patch_condition", "delete_condition",
    }
)  # fmt: skip


@dataclass(frozen=True)
class WriteRequest:
    """Rows are as they came: their values are checked against the namespace's schema later."""

    upserts: Sequence[Mapping[str, Any]]
    patches: Sequence[Mapping[str, Any]]
    deletes: Sequence[Any]
    delete_by_filter: object
    patch_by_filter: tuple[object, Mapping[str, Any]] | None
    upsert_condition: object
    """None, as of the others: without a condition."""
    patch_condition: object
    delete_condition: object
    schema: Mapping[str, Any]
    distance_metric: str | None
    create_namespace: bool | None
    source: str | None
    """The namespace to copy or to branch from; both are copies here."""
    return_ids: bool
    has_data: bool

    @property
    def reads(self) -> bool:
        """Whether it has to look at documents before it can write."""
        filters = (self.delete_by_filter, self.patch_by_filter, self.upsert_condition)
        conditions = (self.patch_condition, self.delete_condition)
        return any(each is not None for each in (*filters, *conditions)) or bool(self.patches)


def parse_write_request(body: Mapping[str, Any]) -> WriteRequest:
    """The request of a body; keys whose value is null are as if absent.

    Raises:
        DevstoreError: 400, a known key with a value that makes no sense; 422, a body of another
            shape or an unknown key.
    """
    given = {key: value for key, value in body.items() if value is not None}
    if "sharding" in given:
        raise DevstoreError.unsupported("shards")
    unknown = sorted(set(given) - _KNOWN)
    if unknown:
        raise DevstoreError.unreadable(f"unknown field `{unknown[0]}`")
    metric = given.get("distance_metric")
    if metric is not None and metric not in _METRICS:
        raise DevstoreError.unreadable(f"distance_metric: unknown variant `{metric}`")
    _check_encryption(given)
    create = given.get("create_namespace")
    if create is not None and not isinstance(create, bool):
        raise DevstoreError.unreadable("create_namespace: expected a boolean")
    return WriteRequest(
        upserts=[*_rows(given, "upsert_rows"), *_columns(given, "upsert_columns")],
        patches=[*_rows(given, "patch_rows"), *_columns(given, "patch_columns")],
        deletes=_sequence(given, "deletes"),
        delete_by_filter=given.get("delete_by_filter"),
        patch_by_filter=_patch_by_filter(given),
        upsert_condition=given.get("upsert_condition"),
        patch_condition=given.get("patch_condition"),
        delete_condition=given.get("delete_condition"),
        schema=_map(given, "schema"),
        distance_metric=metric,
        create_namespace=create,
        source=_source(given),
        return_ids=bool(given.get("return_affected_ids")),
        has_data=any(key in given for key in _DATA),
    )


def _sequence(given: Mapping[str, Any], key: str) -> list[Any]:
    value = given.get(key, [])
    if not isinstance(value, list):
        raise DevstoreError.unreadable(f"{key}: invalid type: {_kind(value)}, expected a sequence")
    return value


def _map(given: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = given.get(key, {})
    if not isinstance(value, dict):
        raise DevstoreError.unreadable(f"{key}: invalid type: {_kind(value)}, expected a map")
    return value


def _rows(given: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = _sequence(given, key)
    for row in rows:
        if not isinstance(row, dict):
            raise DevstoreError.unreadable(f"{key}: invalid type: {_kind(row)}, expected a map")
    return rows


def _columns(given: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Rows of a columnar request."""
    columns = _map(given, key)
    for name in columns:
        _sequence(columns, name)
    if len({len(column) for column in columns.values()}) > 1:
        raise DevstoreError.bad_request(f"{key}: columns have different lengths")
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _patch_by_filter(given: Mapping[str, Any]) -> tuple[object, Mapping[str, Any]] | None:
    if "patch_by_filter" not in given:
        return None
    request = _map(given, "patch_by_filter")
    if set(request) != {"filters", "patch"}:
        raise DevstoreError.unreadable("patch_by_filter: expected `filters` and `patch`")
    patch = _map(request, "patch")
    if "id" in patch:
        raise DevstoreError.bad_request("patch_by_filter cannot patch ids")
    return request["filters"], patch


def _check_encryption(given: Mapping[str, Any]) -> None:
    encryption = _map(given, "encryption")
    if encryption.get("mode", "default") != "default" or "cmek" in encryption:
        key_name = encryption.get("key_name") or encryption.get("cmek")
        raise DevstoreError.bad_request(f"Malformed Cloud KMS crypto key: {key_name}")


def _source(given: Mapping[str, Any]) -> str | None:
    """Copies and branches stand alone in a request."""
    sources = [key for key in ("copy_from_namespace", "branch_from_namespace") if key in given]
    if not sources:
        return None
    if len([key for key in _DATA if key in given]) > 1:
        raise DevstoreError.bad_request(f"{sources[0]} cannot be combined with other writes")
    source = given[sources[0]]
    if isinstance(source, dict) and {"source_region", "source_api_key"} & source.keys():
        raise DevstoreError.unsupported("other regions or organisations to copy from")
    name = source.get("source_namespace") if isinstance(source, dict) else source
    if not isinstance(name, str):
        raise DevstoreError.unreadable(f"{sources[0]}: expected the name of a namespace")
    return name


def _kind(value: object) -> str:
    """As the service's JSON reader says it."""
    if isinstance(value, dict):
        return "map"
    if isinstance(value, list):
        return "sequence"
    return f'string "{value[:40]}"' if isinstance(value, str) else "value"
