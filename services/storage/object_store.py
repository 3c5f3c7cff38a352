"""The object store interface. S3 is the source of truth; every backend behaves like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.core.errors import ErrorKind, LayerError

__all__ = ["InvalidKeyError", "ObjectStore", "StoreRefusedError", "StoreUnavailableError"]


class StoreUnavailableError(LayerError):
    """The store did not answer, answered 5xx, throttled, or the disk is full.

    After this error from `put` or `delete` the effect is unknown: it may have happened.
    """

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UNAVAILABLE, message)


class StoreRefusedError(StoreUnavailableError):
    """The store answered that it will not: no permission, no bucket, no credentials.

    It had no effect, and trying again changes nothing until a person acts.
    """


class InvalidKeyError(ValueError):
    """A key that no backend accepts. A defect of the caller, never of a user.

    Refused: empty, over 900 UTF-8 bytes, not encodable as UTF-8, a NUL, a leading or
    trailing slash, and a segment that is empty, `.`, `..` or over 240 bytes (file names
    end at 255).
    """


class ObjectStore(Protocol):
    """Immutable bytes under string keys, listed in ascending order of the keys' UTF-8 bytes.

    Every method may raise `StoreUnavailableError` and `InvalidKeyError`.
    """

    async def get(self, key: str) -> bytes | None:
        """The object's body, or None when there is none."""
        ...

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        """Store a body durably; True when this call wrote it.

        With `if_absent`, an existing object is left as it is and the answer is False.
        Readers see the whole body or nothing.
        """
        ...

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        """At most `limit` (1..1000) keys that start with `prefix` and are greater than
        `start_after`, ascending. One request.

        Neither argument has to be a key. Fewer than `limit` keys means there are no more.

        Raises:
            ValueError: `limit` is out of range.
        """
        ...

    async def list_children(self, prefix: str) -> Sequence[str]:
        """The distinct next path segments below `prefix` (which ends with `/` or is empty),
        ascending, without slashes. Pages through the store until complete.

        With `a/b` and `a/b/c` stored, the children of `a/` are `b`, once.
        """
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent keys are fine. Batched by 1,000 keys a request."""
        ...
