"""What is a key, in every backend: checked here so that none accepts what another refuses."""

from __future__ import annotations

from services.storage.object_store import InvalidKeyError

__all__ = [
    "MAX_KEY_BYTES",
    "MAX_LIST_LIMIT",
    "MAX_SEGMENT_BYTES",
    "folder_end",
    "validate_folder",
    "validate_key",
    "validate_listing",
]

MAX_KEY_BYTES = 900
"""S3's limit is 1,024; the rest is for the folder of a shared bucket."""

MAX_SEGMENT_BYTES = 240
"""File systems allow 255 bytes a name; the rest is room for the file store's own marks."""

MAX_LIST_LIMIT = 1000
"""S3's page size."""


def validate_key(key: str) -> None:
    """Check the name of one object.

    Raises:
        InvalidKeyError: see its docstring for the rule.
    """
    if not key:
        raise InvalidKeyError("key is empty")
    _check_text(key)
    for segment in key.split("/"):
        if segment in ("", ".", ".."):
            raise InvalidKeyError(f"key has an empty or dot segment: {key!r}")


def validate_listing(prefix: str, start_after: str, limit: int) -> None:
    """Check the arguments of `list`; a prefix and a start need not be keys themselves.

    Raises:
        InvalidKeyError: a prefix or start that no key could have.
        ValueError: a limit outside 1..1000.
    """
    _check_text(prefix)
    _check_text(start_after)
    if not 1 <= limit <= MAX_LIST_LIMIT:
        raise ValueError(f"limit must be 1 to {MAX_LIST_LIMIT}, not {limit}")


def validate_folder(prefix: str) -> None:
    """Check the argument of `list_children`: empty, or ending with a slash.

    Raises:
        InvalidKeyError: it is neither, or no key could start with it.
    """
    _check_text(prefix)
    if prefix and not prefix.endswith("/"):
        raise InvalidKeyError(f"folder must end with a slash: {prefix!r}")


def folder_end(folder: str) -> str:
    """The least string above every key that starts with `folder`, which ends with a slash."""
    return folder[:-1] + chr(ord("/") + 1)


def _check_text(text: str) -> None:
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise InvalidKeyError(f"not encodable as UTF-8: {text!r}") from None
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidKeyError(f"over {MAX_KEY_BYTES} bytes: {text[:80]!r}...")
    if b"\0" in encoded:
        raise InvalidKeyError(f"has a NUL: {text!r}")
    if len(encoded) > MAX_SEGMENT_BYTES and any(
        len(segment) > MAX_SEGMENT_BYTES for segment in encoded.split(b"/")
    ):
        raise InvalidKeyError(f"has a segment over {MAX_SEGMENT_BYTES} bytes: {text[:80]!r}...")
