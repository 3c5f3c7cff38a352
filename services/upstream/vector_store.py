"""The vector store interface and its failures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace

__all__ = [
    "ApiVersion",
    "IndexStatus",
    "NamespaceMetadata",
    "NamespaceNotFoundError",
    "UpstreamRejectedError",
    "UpstreamUnavailableError",
    "VectorStore",
    "decode_metadata",
    "is_vector",
]


class NamespaceNotFoundError(LayerError):
    """The upstream has no such namespace."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__(ErrorKind.NOT_FOUND, f"namespace {namespace!r} was not found upstream")


class UpstreamRejectedError(LayerError):
    """The upstream refuses the request (4xx): the same request will fail again."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(ErrorKind.VALIDATION, f"the upstream refused the request: {message}")
        self.status = status


class UpstreamUnavailableError(LayerError):
    """The upstream failed or did not answer, after the client's own retries."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UPSTREAM, message)


class IndexStatus(msgspec.Struct, frozen=True):
    """`index` of the metadata. The counters exist only while it is updating."""

    status: str
    unindexed_bytes: int | None = None
    unindexed_rows: int | None = None


class NamespaceMetadata(msgspec.Struct, frozen=True):
    """What we read of a namespace's metadata.

    Source: turbopuffer.com/docs/metadata. `approx_row_count` is not a count: a small fresh
    namespace reports 0 while it has rows.
    """

    schema: dict[str, msgspec.Raw] = {}
    approx_row_count: int = 0
    updated_at: str = ""
    last_write_at: str | None = None
    index: IndexStatus = IndexStatus("up-to-date")

    @property
    def is_updating(self) -> bool:
        """Whether writes are still waiting to be indexed."""
        return self.index.status != "up-to-date"

    @property
    def written_at(self) -> str:
        """The upstream's time of the last change of data; of data or schema where it is older."""
        return self.last_write_at or self.updated_at

    def attribute_type(self, name: str) -> str | None:
        """The type in the schema, such as `[]string` or `[64]f32`; None for no such attribute."""
        raw = self.schema.get(name)
        if raw is None:
            return None
        value = msgspec.json.decode(raw)
        return value if isinstance(value, str) else str(value.get("type", ""))


_metadata_decoder = msgspec.json.Decoder(NamespaceMetadata)


def decode_metadata(data: bytes) -> NamespaceMetadata:
    """Read what `VectorStore.metadata` answers.

    Raises:
        UpstreamUnavailableError: it is not such an answer.
    """
    try:
        return _metadata_decoder.decode(data)
    except msgspec.DecodeError as error:
        raise UpstreamUnavailableError("the upstream's metadata cannot be read") from error


def is_vector(attribute_type: str) -> bool:
    """Whether a schema type is dense, late-interaction or sparse vectors."""
    return attribute_type.endswith(("f32", "f16", "i8"))


ApiVersion = Literal["v1", "v2"]
"""The first part of a route's path."""


class VectorStore(Protocol):
    """Reads of one upstream. Bodies are JSON as the upstream sent it, for typed decoding.

    Both methods raise `NamespaceNotFoundError`, `UpstreamRejectedError` and
    `UpstreamUnavailableError`.
    """

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        """The answer to a query (turbopuffer.com/docs/query), with strong consistency."""
        ...

    async def metadata(self, namespace: Namespace, version: ApiVersion = "v2") -> bytes:
        """The namespace's metadata (turbopuffer.com/docs/metadata). The versions differ in what
        `encryption` looks like."""
        ...
