"""Listing a folder of objects in key order without reading more folders than a page needs."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from services.storage import file_names
from services.storage.keys import folder_end

__all__ = ["children", "page"]


def page(objects: Path, prefix: str, start_after: str, limit: int) -> list[str]:
    """At most `limit` keys with a prefix, above `start_after`, ascending.

    Raises:
        OSError: a folder cannot be read.
    """
    folder, slash, name_start = prefix.rpartition("/")
    return list(islice(_walk(objects, folder + slash, start_after, name_start), limit))


def children(objects: Path, folder: str) -> list[str]:
    """The names of the files and folders in a key folder (empty, or ending with a slash).

    Raises:
        OSError: a folder cannot be read.
    """
    found: set[str] = set()
    for key in _entries(objects, folder):
        # A crash can leave a folder without objects, which no other backend would show.
        if not key.endswith("/") or next(_walk(objects, key), None) is not None:
            found.add(key[len(folder) :].removesuffix("/"))
    return sorted(found)


def _walk(objects: Path, folder: str, start_after: str = "", name_start: str = "") -> Iterator[str]:
    """The keys below a folder, ascending; opens only folders that can hold the next key."""
    # A file sorts as its name and a folder as its name and a slash: so `a-b` comes before
    # `a/b`, as it does among whole keys. Code points sort as their UTF-8 bytes do.
    waiting = [
        key
        for key in _entries(objects, folder)
        if key.startswith(name_start, len(folder)) and _may_follow(key, start_after)
    ]
    # A heap, since a page is far smaller than a large folder.
    heapq.heapify(waiting)
    while waiting:
        key = heapq.heappop(waiting)
        if key.endswith("/"):
            yield from _walk(objects, key, start_after)
        else:
            yield key


def _may_follow(key: str, start_after: str) -> bool:
    return (folder_end(key) if key.endswith("/") else key) > start_after


def _entries(objects: Path, folder: str) -> list[str]:
    """The keys of a folder's files, and its folders as keys with a final slash."""
    try:
        # Names alone tell files from folders, so no entry needs a stat on any file system.
        names = os.listdir(objects / file_names.folder_path_of(folder))
    except FileNotFoundError:
        # Never made, or pruned by a concurrent delete.
        return []
    return [folder + file_names.decode(name) for name in names]
