"""Turbopuffer's filters by the words of their description, straight from the JSON.

Nothing is shared with `services.filters`, which is tested against this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["naive_match"]


def naive_match(expression: Any, row: Mapping[str, Any]) -> bool:
    """Whether the row matches; None matches everything."""
    if expression is None:
        return True
    if len(expression) == 2:
        word, operand = expression
        if word == "Not":
            return not naive_match(operand, row)
        results = [naive_match(part, row) for part in operand]
        return False not in results if word == "And" else True in results
    name, operator, operand = expression
    return _holds(row.get(name), operator, operand)


def _holds(value: Any, operator: str, operand: Any) -> bool:
    if operator.startswith("Not"):
        return not _holds(value, operator.removeprefix("Not"), operand)
    if operator == "Eq":
        return _same(value, operand)
    if operator == "In":
        elements = value if isinstance(value, list) else [value]
        return any(_same(element, wanted) for element in elements for wanted in operand)
    if operator in ("Contains", "ContainsAny"):
        wanted = operand if operator == "ContainsAny" else [operand]
        return isinstance(value, list) and any(_same(e, w) for e in value for w in wanted)
    if operator in ("Glob", "IGlob"):
        return any(_globs(e, operator, operand) for e in _elements(value))
    if operator.startswith("Any"):
        return isinstance(value, list) and any(
            _ordered(element, operator.removeprefix("Any"), operand) for element in value
        )
    return not isinstance(value, list) and _ordered(value, operator, operand)


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(left: Any, right: Any) -> bool:
    return _type(left) == _type(right) and left == right


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _ordered(value: Any, operator: str, operand: Any) -> bool:
    """Null is one value below all others."""
    if value is not None and operand is not None and _type(value) != _type(operand):
        return False
    left = (0, 0) if value is None else (1, value)
    right = (0, 0) if operand is None else (1, operand)
    if operator == "Lt":
        return left < right
    if operator == "Lte":
        return left <= right
    return left > right if operator == "Gt" else left >= right


def _globs(text: Any, operator: str, pattern: str) -> bool:
    if not isinstance(text, str):
        return False
    if operator == "IGlob":
        text, pattern = text.lower(), pattern.lower()
    parts = [{"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern]
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None
