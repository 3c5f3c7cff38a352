"""`GET` and `POST /documents`: documents by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from services.cache.cache import CacheUnavailableError
from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.core.single_flight import SingleFlight
from services.document.cached_documents import CachedDocuments
from services.document.generations import Generations
from services.document.model import CacheUse, Document, FetchedDocuments
from services.document.rows import rows_by_id
from services.document.schemas import Schemas
from services.upstream.vector_store import UpstreamRejectedError, VectorStore

__all__ = ["MAX_IDS", "FetchDocuments"]

MAX_IDS: Final = 1000
_MAX_ID_BYTES: Final = 64
"""Turbopuffer's limit for string ids (turbopuffer.com/docs/write)."""
_SUSPECT_SECONDS: Final = 1.0
"""A schema that does not fit what is asked for is read again when it is older."""

_Flights = SingleFlight[tuple[Namespace, str, str], bytes]


class FetchDocuments:
    """Documents from the cache, and the others in one upstream query, without their vectors.

    Whole documents are cached; attributes are chosen afterwards. Reads of one document that run
    at the same time, in one generation, ask the upstream once.
    """

    def __init__(
        self,
        upstream: VectorStore,
        schemas: Schemas,
        generations: Generations,
        cached: CachedDocuments,
        flights: _Flights,
        clock: Clock,
    ) -> None:
        self._upstream = upstream
        self._schemas = schemas
        self._generations = generations
        self._cached = cached
        self._flights = flights
        self._clock = clock

    async def __call__(
        self,
        namespace: Namespace,
        ids: Sequence[str],
        include_attributes: Sequence[str] | None,
        *,
        use_cache: bool = True,
    ) -> FetchedDocuments:
        """The documents with these ids; None asks for every attribute but vectors.

        Raises:
            LayerError: VALIDATION, no or too many ids, or an attribute that the namespace does
                not have; NOT_FOUND, no such namespace; UPSTREAM.
        """
        if not 1 <= len(ids) <= MAX_IDS:
            raise LayerError.validation(f"1 to {MAX_IDS} ids, not {len(ids)}")
        wanted = list(dict.fromkeys(ids))
        possible = [text for text in wanted if 0 < len(text.encode()) <= _MAX_ID_BYTES]
        generation, hits, is_failing = await self._from_cache(namespace, possible, use_cache)
        rest = [text for text in possible if text not in hits]
        rows = dict(hits)
        if rest or not hits:
            rows |= await self._from_upstream(namespace, rest, include_attributes, generation)
        documents = [_document(rows[text]) for text in wanted if text in rows]
        if include_attributes is not None:
            await self._check_attributes(namespace, documents, include_attributes)
            documents = [_chosen(document, include_attributes) for document in documents]
        use = CacheUse.MISS_ON_ERROR if is_failing else CacheUse.MISS
        if hits:
            use = CacheUse.HIT if len(hits) == len(wanted) else CacheUse.PARTIAL
        missing = [text for text in wanted if text not in rows]
        return FetchedDocuments(documents, missing, hits.keys(), use)

    async def _from_cache(
        self, namespace: Namespace, ids: Sequence[str], use_cache: bool
    ) -> tuple[str | None, Mapping[str, bytes], bool]:
        """The generation to cache in, what is there, and whether the cache fails."""
        if not use_cache:
            return None, {}, False
        state = await self._generations.current(namespace)
        if state.generation is None:
            return None, {}, state.is_failing
        try:
            return state.generation, await self._cached.get(namespace, state.generation, ids), False
        except CacheUnavailableError:
            return None, {}, True

    async def _from_upstream(
        self,
        namespace: Namespace,
        ids: Sequence[str],
        include_attributes: Sequence[str] | None,
        generation: str | None,
    ) -> Mapping[str, bytes]:
        if generation is None:
            return await self._query(namespace, ids, include_attributes)

        async def load(keys: Sequence[tuple[Namespace, str, str]]) -> Mapping[Any, bytes]:
            read_at = self._clock.monotonic()
            rows = await self._query(namespace, [text for _, _, text in keys], None)
            self._cached.keep(namespace, generation, rows, read_at=read_at)
            return {(namespace, generation, text): row for text, row in rows.items()}

        if not ids:
            return await self._query(namespace, ids, None)
        # Readers of another generation must not wait for this one's answer: it may be older.
        rows = await self._flights.read([(namespace, generation, text) for text in ids], load)
        return {text: row for (_, _, text), row in rows.items()}

    async def _query(
        self, namespace: Namespace, ids: Sequence[str], include: Sequence[str] | None
    ) -> Mapping[str, bytes]:
        """The rows upstream. A namespace that was deleted and made anew may have another type of
        ids than the schema that is remembered."""
        schema = await self._schemas.get(namespace)
        typed = [schema.typed_id(text) for text in ids]
        if None in typed or not schema.has(include or ()):
            schema = await self._schemas.get(namespace, max_age_seconds=_SUSPECT_SECONDS)
        try:
            return await self._query_by(namespace, ids, include)
        except UpstreamRejectedError:
            if await self._schemas.get(namespace, max_age_seconds=0) == schema:
                raise
            return await self._query_by(namespace, ids, include)

    async def _query_by(
        self, namespace: Namespace, ids: Sequence[str], include: Sequence[str] | None
    ) -> Mapping[str, bytes]:
        schema = await self._schemas.get(namespace)
        projection = schema.projection(include)
        typed = [value for text in ids if (value := schema.typed_id(text)) is not None]
        if not typed:
            return {}
        data = await self._upstream.query(
            namespace,
            {
                "rank_by": ["id", "asc"],
                "top_k": len(typed),
                "filters": ["id", "In", typed],
                **projection,
            },
        )
        return rows_by_id(data)

    async def _check_attributes(
        self, namespace: Namespace, documents: Sequence[Document], names: Sequence[str]
    ) -> None:
        """Refuse unknown names. What a document has is known, so that a hit needs no upstream."""
        unseen = set(names).difference(*(document.attributes for document in documents))
        schema = self._schemas.known(namespace)
        if schema is not None and schema.has(unseen):
            return
        if unseen - {"id"}:
            try:
                schema = await self._schemas.get(namespace, max_age_seconds=_SUSPECT_SECONDS)
            except LayerError as error:
                if error.kind is not ErrorKind.UPSTREAM:
                    raise
            else:
                schema.check(unseen)


def _document(row: bytes) -> Document:
    values: dict[str, Any] = msgspec.json.decode(row)
    return Document(
        str(values["id"]),
        {name: value for name, value in values.items() if name not in ("id", "$dist")},
    )


def _chosen(document: Document, names: Sequence[str]) -> Document:
    wanted = set(names)
    return Document(
        document.id,
        {name: value for name, value in document.attributes.items() if name in wanted},
    )
