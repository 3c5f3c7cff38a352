"""How keys are written as file names: readable, and one to one.

A folder's name ends with `.d`, so that the keys `a` and `a/b` are the file `a` and the file
`b` in the folder `a.d`. A file whose own name ends with `.d` and any number of tildes gets
one tilde more. Everything else is written as it is:
`snapshots/products/82-ab.json` is `snapshots.d/products.d/82-ab.json`.
"""

from __future__ import annotations

import re

__all__ = ["decode", "folder_path_of", "path_of"]

_LOOKS_LIKE_FOLDER = re.compile(r"\.d~*\Z")


def path_of(key: str) -> str:
    """The relative path of a key's file; the key is valid."""
    folder, slash, name = key.rpartition("/")
    if _LOOKS_LIKE_FOLDER.search(name):
        name += "~"
    return folder_path_of(folder + slash) + name


def folder_path_of(folder: str) -> str:
    """The relative path of a key folder, which is empty or ends with a slash."""
    return folder.replace("/", ".d/")


def decode(name: str) -> str:
    """The key segment that a file's name stands for; a folder's has a final slash."""
    if name.endswith(".d"):
        return name[:-2] + "/"
    if name.endswith("~") and _LOOKS_LIKE_FOLDER.search(name):
        return name[:-1]
    return name
