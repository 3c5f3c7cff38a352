"""Tags of searches and fetches: comma-separated, sorted, unique, of a small alphabet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from services.core.errors import LayerError

__all__ = ["MAX_TAGS", "MAX_TAG_BYTES", "parse_tags_leniently", "parse_tags_strictly"]

MAX_TAGS: Final = 32
MAX_TAG_BYTES: Final = 128
_TAG = re.compile(rf"[A-Za-z0-9:_\-./=+]{{1,{MAX_TAG_BYTES}}}")


def parse_tags_leniently(texts: Iterable[str]) -> tuple[tuple[str, ...], int]:
    """The good tags and how many were refused: a bad tag never fails a query."""
    tags = _split(texts)
    good = sorted(tag for tag in tags if _TAG.fullmatch(tag))
    return tuple(good[:MAX_TAGS]), len(tags) - len(good[:MAX_TAGS])


def parse_tags_strictly(texts: Iterable[str]) -> tuple[str, ...]:
    """The tags.

    Raises:
        LayerError: VALIDATION, a tag is bad or there are more than 32.
    """
    tags = _split(texts)
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise LayerError.validation(
                f"a tag has 1 to {MAX_TAG_BYTES} ASCII letters, digits and : _ - . / = +"
            )
    if len(tags) > MAX_TAGS:
        raise LayerError.validation(f"at most {MAX_TAGS} tags, not {len(tags)}")
    return tuple(sorted(tags))


def _split(texts: Iterable[str]) -> set[str]:
    parts = (part.strip() for text in texts for part in text.split(","))
    return {part for part in parts if part}
