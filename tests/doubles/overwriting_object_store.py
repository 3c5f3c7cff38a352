"""A store like the S3 servers that do not know conditional writes."""

from __future__ import annotations

from tests.doubles.memory_object_store import MemoryObjectStore

__all__ = ["OverwritingObjectStore"]


class OverwritingObjectStore(MemoryObjectStore):
    """Ignores `if_absent`, and says that all went well."""

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        return await super().put(key, body)
