"""`GET` and `POST /documents`: documents by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from services.core.errors import LayerError
from services.core.ids import Namespace
from services.document.model import Document, FetchedDocuments
from services.document.schemas import Schemas
from services.upstream.vector_store import UpstreamUnavailableError, VectorStore

__all__ = ["MAX_IDS", "FetchDocuments"]

MAX_IDS: Final = 1000
_MAX_ID_BYTES: Final = 64
"""Turbopuffer's limit for string ids (turbopuffer.com/docs/write)."""


class _Answer(msgspec.Struct):
    rows: list[dict[str, Any]]


_decoder = msgspec.json.Decoder(_Answer)


class FetchDocuments:
    """Reads documents in one upstream query, without their vectors."""

    def __init__(self, upstream: VectorStore, schemas: Schemas) -> None:
        self._upstream = upstream
        self._schemas = schemas

    async def __call__(
        self, namespace: Namespace, ids: Sequence[str], include_attributes: Sequence[str] | None
    ) -> FetchedDocuments:
        """The documents with these ids; None asks for every attribute but vectors.

        Raises:
            LayerError: VALIDATION, no or too many ids, or an attribute that the namespace does
                not have; NOT_FOUND, no such namespace; UPSTREAM.
        """
        if not 1 <= len(ids) <= MAX_IDS:
            raise LayerError.validation(f"1 to {MAX_IDS} ids, not {len(ids)}")
        schema = await self._schemas.get(namespace)
        wanted = list(dict.fromkeys(ids))
        typed = [typed for text in wanted if (typed := schema.typed_id(text)) is not None]
        typed = [value for value in typed if len(str(value).encode()) <= _MAX_ID_BYTES]
        found: dict[str, Document] = {}
        if typed:
            data = await self._upstream.query(
                namespace,
                {
                    "rank_by": ["id", "asc"],
                    "top_k": len(typed),
                    "filters": ["id", "In", typed],
                    **schema.projection(include_attributes),
                },
            )
            found = {document.id: document for document in _documents(data)}
        return FetchedDocuments(
            [found[text] for text in wanted if text in found],
            [text for text in wanted if text not in found],
        )


def _documents(data: bytes) -> list[Document]:
    try:
        rows = _decoder.decode(data).rows
    except msgspec.DecodeError as error:
        raise UpstreamUnavailableError("the upstream's answer has no rows") from error
    return [
        Document(
            str(row["id"]),
            {name: value for name, value in row.items() if name not in ("id", "$dist")},
        )
        for row in rows
    ]
