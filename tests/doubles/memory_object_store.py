"""An object store in memory, for tests that need one quickly and do not test storage."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from services.storage.keys import validate_folder, validate_key, validate_listing

__all__ = ["MemoryObjectStore"]


class MemoryObjectStore:
    """Behaves like every backend; `objects` may be read, never written, by tests."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.objects: dict[str, bytes] = objects or {}
        self._keys = sorted(self.objects)

    async def get(self, key: str) -> bytes | None:
        validate_key(key)
        return self.objects.get(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        validate_key(key)
        if key not in self.objects:
            bisect.insort(self._keys, key)
        elif if_absent:
            return False
        self.objects[key] = bytes(body)
        return True

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        validate_listing(prefix, start_after, limit)
        after = bisect.bisect_right(self._keys, start_after)
        start = max(after, bisect.bisect_left(self._keys, prefix))
        found = []
        for key in self._keys[start : start + limit]:
            if not key.startswith(prefix):
                break
            found.append(key)
        return found

    async def list_children(self, prefix: str) -> Sequence[str]:
        validate_folder(prefix)
        children: set[str] = set()
        at = bisect.bisect_left(self._keys, prefix)
        while at < len(self._keys) and self._keys[at].startswith(prefix):
            child, slash, _ = self._keys[at][len(prefix) :].partition("/")
            children.add(child)
            # Past everything below a folder: "0" follows "/".
            at = bisect.bisect_left(self._keys, f"{prefix}{child}0") if slash else at + 1
        return sorted(children)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            validate_key(key)
        for key in keys:
            if self.objects.pop(key, None) is not None:
                self._keys.pop(bisect.bisect_left(self._keys, key))
