"""The typed tree of a filter expression.

Source: turbopuffer.com/docs/query, filtering parameters.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

__all__ = [
    "And",
    "Condition",
    "Filter",
    "Not",
    "Operator",
    "Or",
    "Scalar",
    "walk",
]

Scalar = str | int | float | bool


class Operator(enum.StrEnum):
    """What a condition asks of one attribute; the value is its name on the wire."""

    EQ = "Eq"
    NOT_EQ = "NotEq"
    IN = "In"
    NOT_IN = "NotIn"
    CONTAINS = "Contains"
    NOT_CONTAINS = "NotContains"
    CONTAINS_ANY = "ContainsAny"
    NOT_CONTAINS_ANY = "NotContainsAny"
    LT = "Lt"
    LTE = "Lte"
    GT = "Gt"
    GTE = "Gte"
    ANY_LT = "AnyLt"
    ANY_LTE = "AnyLte"
    ANY_GT = "AnyGt"
    ANY_GTE = "AnyGte"
    GLOB = "Glob"
    NOT_GLOB = "NotGlob"
    I_GLOB = "IGlob"
    NOT_I_GLOB = "NotIGlob"
    REGEX = "Regex"
    FUZZY = "Fuzzy"
    CONTAINS_ALL_TOKENS = "ContainsAllTokens"
    CONTAINS_ANY_TOKEN = "ContainsAnyToken"  # noqa: S105 - a filter's name
    CONTAINS_TOKEN_SEQUENCE = "ContainsTokenSequence"  # noqa: S105 - a filter's name


@dataclass(frozen=True)
class And:
    """All of the parts hold. `path` is where the expression stands in the request."""

    parts: tuple[Filter, ...]
    path: str = field(default="filters", compare=False)


@dataclass(frozen=True)
class Or:
    """One of the parts holds."""

    parts: tuple[Filter, ...]
    path: str = field(default="filters", compare=False)


@dataclass(frozen=True)
class Not:
    """The part does not hold."""

    part: Filter
    path: str = field(default="filters", compare=False)


@dataclass(frozen=True)
class Condition:
    """One attribute, an operator and its operand: a scalar, null, or a tuple of scalars."""

    attribute: str
    operator: Operator
    operand: Scalar | tuple[Scalar, ...] | None
    options: Mapping[str, object] = field(default_factory=dict)
    path: str = field(default="filters", compare=False)


Filter = And | Or | Not | Condition


def walk(tree: Filter) -> Iterator[Filter]:
    """Every node, in the order of the text."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, Not):
            waiting.append(node.part)
        elif not isinstance(node, Condition):
            waiting.extend(reversed(node.parts))
