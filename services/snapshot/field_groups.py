"""The groups of one field, page after page, and whether they can be trusted to be all."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.snapshot.count_facets import value_text
from services.snapshot.count_request import CountRequest

__all__ = ["FieldGroups", "UncertainError"]

_KEY_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "int": (int,),
    "uint": (int,),
    "float": (int, float),
    "bool": (bool,),
}
"""Schema types whose values are spelled alike in groups and in rows. How a datetime, a uuid or
bytes are written as a key is not documented."""

_CONTINUED: Final = frozenset({"string", "int", "uint"})
"""Types of which `Gt` finds exactly what comes after a key."""

_ALIAS: Final = "v"


class UncertainError(Exception):
    """The field cannot be counted this way with certainty; the text says why."""


class _Groups(msgspec.Struct):
    aggregation_groups: list[dict[str, Any]]


_decoder = msgspec.json.Decoder(_Groups)


class FieldGroups:
    """One field's grouping query, and the groups so far.

    Args:
        declared: the field's type in the schema.
        group_cap: groups after which the upstream cuts.
        field_cap: values beyond which only their number is kept.

    Raises:
        UncertainError: values of the type may be spelled otherwise in rows.
    """

    def __init__(self, name: str, declared: str | None, group_cap: int, field_cap: int) -> None:
        element = (declared or "").removeprefix("[]")
        if declared is None or element not in _KEY_TYPES:
            raise UncertainError(f"keys of type {declared or 'unknown'} are not documented")
        self.name = name
        self.is_array = declared.startswith("[]")
        self.is_complete = False
        self.distinct = 0
        self.counts: dict[str, int] = {}
        self._type = element
        self._group_cap = group_cap
        self._field_cap = field_cap
        self._documents = 0
        self._last: str | int | None = None
        # A label must differ from the names that are grouped by.
        self._label = "n" if name != "n" else "count"
        self._key = _ALIAS if self.is_array else name

    def query(self, request: CountRequest) -> dict[str, object]:
        """The query for the next page. It is `top_k` that bounds groups: `limit` is refused."""
        by = {_ALIAS: ["ForEachUnique", self.name]} if self.is_array else self.name
        behind = [] if self._last is None else [[self.name, "Gt", self._last]]
        return {
            "aggregate_by": {self._label: ["Count"]},
            "group_by": [by],
            "top_k": self._group_cap,
            **request.narrowed(*behind),
        }

    def documents(self, rows: int) -> int:
        """Documents in the groups so far; of an array field, whose documents are in several
        groups, all `rows` once it is complete."""
        if self.is_array:
            return rows if self.is_complete else 0
        return self._documents

    def add(self, answer: bytes | msgspec.Raw) -> bool:
        """Read a page. Whether the cut may have hidden more.

        Raises:
            UncertainError: there may be more and no safe way to it, or a key is not of its type.
            msgspec.DecodeError: it is no such answer.
        """
        groups = _decoder.decode(answer).aggregation_groups
        keys = []
        for group in groups:
            key, n = group.get(self._key), group.get(self._label)
            if type(n) is not int:
                raise UncertainError("the upstream's answer holds a group without a count")
            self._documents += n
            # The group of documents without a value is no value.
            if key is not None:
                self._add_key(key, n)
                keys.append(key)
        if self._last is not None:
            keys.insert(0, self._last)
        self.is_complete = len(groups) < self._group_cap
        if not (self.is_complete and self._last is None):
            self._check_order(keys)
        if not self.is_complete:
            self._check_continuable(keys)
            self._last = keys[-1]
        return not self.is_complete

    def _add_key(self, key: Any, n: int) -> None:  # noqa: ANN401 - JSON
        # `type`, since a boolean is an instance of int.
        if type(key) not in _KEY_TYPES[self._type]:
            raise UncertainError(f"the upstream's answer holds a key that is no {self._type}")
        text = value_text(key)
        if text in self.counts:
            if self.is_array:
                # One number spelled twice: documents with both would count twice.
                raise UncertainError("the upstream's answer holds a value twice")
            self.counts[text] += n
            return
        self.distinct += 1
        if self.distinct <= self._field_cap:
            self.counts[text] = n

    def _check_order(self, keys: list[Any]) -> None:
        """Where pages are put together, each key must come once: above the one before."""
        if not all(before < after for before, after in itertools.pairwise(keys)):
            raise UncertainError("the upstream's groups are not in the order of their keys")

    def _check_continuable(self, keys: list[Any]) -> None:
        """Whether what was cut off is exactly what `Gt` the last key finds."""
        if self.is_array:
            raise UncertainError("an array has more values than the upstream groups")
        if self._type not in _CONTINUED or not keys:
            raise UncertainError(f"groups of type {self._type} cannot be continued")
