"""What of a namespace's schema a fetch needs: the type of its ids and which columns are vectors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import Namespace
from services.upstream.vector_store import VectorStore, decode_metadata, is_vector

__all__ = ["FetchSchema", "Schemas"]

_KNOWN: Final = 10_000
_MAX_UINT64: Final = 2**64 - 1


@dataclass(frozen=True)
class FetchSchema:
    """The part of a schema that decides how documents are asked for: types by attribute."""

    types: Mapping[str, str]

    @property
    def vectors(self) -> Sequence[str]:
        """The attributes that are vectors."""
        return sorted(name for name, declared in self.types.items() if is_vector(declared))

    def typed_id(self, text: str) -> str | int | None:
        """The id as the namespace has it; None when no document can have it."""
        if self.types.get("id") != "uint":
            return text or None
        if not text.isascii() or not text.isdigit() or str(int(text[:20])) != text:
            return None
        number = int(text)
        return number if number <= _MAX_UINT64 else None

    def projection(self, include: Sequence[str] | None) -> Mapping[str, object]:
        """Query keys for the wanted attributes, vectors always left out.

        Raises:
            LayerError: VALIDATION, an attribute that the namespace does not have.
        """
        if include is None:
            if self.vectors:
                return {"exclude_attributes": self.vectors}
            return {"include_attributes": True}
        self.check(include)
        left_out = {"id", *self.vectors}
        return {"include_attributes": [name for name in include if name not in left_out]}

    def has(self, names: Iterable[str]) -> bool:
        """Whether all are attributes of the namespace."""
        return self.types.keys() >= set(names) - {"id"}

    def check(self, names: Iterable[str]) -> None:
        """Refuse names that are no attributes.

        Raises:
            LayerError: VALIDATION.
        """
        unknown = sorted(set(names) - self.types.keys() - {"id"})
        if unknown:
            raise LayerError.validation(f"the namespace has no attribute {unknown[0]!r}")


class Schemas:
    """Schemas by namespace, each read from the metadata again after `ttl_seconds`.

    An id type never changes while the namespace lives; a new attribute is known after that time.
    """

    def __init__(self, upstream: VectorStore, clock: Clock, *, ttl_seconds: float) -> None:
        self._upstream = upstream
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._known: OrderedDict[Namespace, tuple[float, FetchSchema]] = OrderedDict()

    def known(self, namespace: Namespace) -> FetchSchema | None:
        """What was last read, however long ago."""
        known = self._known.get(namespace)
        return known[1] if known else None

    async def get(
        self, namespace: Namespace, *, max_age_seconds: float | None = None
    ) -> FetchSchema:
        """The schema, as it was at most that long ago (default: `ttl_seconds`).

        Raises:
            NamespaceNotFoundError, UpstreamRejectedError, UpstreamUnavailableError: as the port's.
        """
        max_age = self._ttl_seconds if max_age_seconds is None else max_age_seconds
        read_at, schema = self._known.get(namespace, (float("-inf"), None))
        if schema is not None and self._clock.monotonic() - read_at < max_age:
            return schema
        schema = _schema(await self._upstream.metadata(namespace))
        self._known[namespace] = (self._clock.monotonic(), schema)
        self._known.move_to_end(namespace)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return schema


def _schema(data: bytes) -> FetchSchema:
    metadata = decode_metadata(data)
    return FetchSchema({name: metadata.attribute_type(name) or "" for name in metadata.schema})
