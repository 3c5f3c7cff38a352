"""Identifiers as dependencies, and the rule for names that reach storage keys."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import NewType

from services.core.errors import LayerError

__all__ = ["IdGenerator", "Namespace", "parse_namespace", "random_id"]

IdGenerator = Callable[[], str]

Namespace = NewType("Namespace", str)
"""A namespace name that passed `parse_namespace`: safe in a storage key."""

_NAMESPACE = re.compile(r"[A-Za-z0-9._-]{1,128}")


def random_id() -> str:
    """A random UUID (RFC 9562, version 4) in its text form."""
    return str(uuid.uuid4())


def parse_namespace(text: str) -> Namespace:
    """Check a namespace name: 1 to 128 of `[A-Za-z0-9._-]`, and neither `.` nor `..`.

    The two dot names are refused because a file store would read them as folders.

    Raises:
        LayerError: VALIDATION.
    """
    if not _NAMESPACE.fullmatch(text) or text in (".", ".."):
        raise LayerError.validation(
            "namespace must be 1 to 128 characters of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return Namespace(text)
