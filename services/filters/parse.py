"""A filter expression as JSON values, into its tree."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from services.core.errors import LayerError
from services.filters.tree import And, Condition, Filter, Not, Operator, Or, Scalar

__all__ = ["MAX_DEPTH", "MAX_PARTS", "parse_filter"]

MAX_DEPTH: Final = 32
"""Nesting of And, Or and Not. It bounds the recursion of everything that works on trees."""

MAX_PARTS: Final = 100_000
"""Conditions and listed values of one expression."""

_LISTS: Final = frozenset(
    {Operator.IN, Operator.NOT_IN, Operator.CONTAINS_ANY, Operator.NOT_CONTAINS_ANY}
)
_RANGES: Final = frozenset(
    {Operator.LT, Operator.LTE, Operator.GT, Operator.GTE}
    | {Operator.ANY_LT, Operator.ANY_LTE, Operator.ANY_GT, Operator.ANY_GTE}
)
_TEXTS: Final = frozenset(
    {Operator.GLOB, Operator.NOT_GLOB, Operator.I_GLOB, Operator.NOT_I_GLOB}
    | {Operator.REGEX, Operator.FUZZY}
)
_TOKENS: Final = frozenset(
    {Operator.CONTAINS_ALL_TOKENS, Operator.CONTAINS_ANY_TOKEN, Operator.CONTAINS_TOKEN_SEQUENCE}
)
_WITH_OPTIONS: Final = _TOKENS | {Operator.FUZZY}
_LOGICAL: Final = ("And", "Or", "Not")


def parse_filter(expression: object, *, root: str = "filters") -> Filter:
    """The tree of an expression. What only the namespace's schema can tell, such as an operand's
    type, is left to the upstream.

    Args:
        expression: decoded JSON.
        root: what the expression is called in error messages.

    Raises:
        LayerError: VALIDATION; the message names the path of the part at fault, such as
            `filters[1][0][2]`.
    """
    return _Parser().parse(expression, root, 1)


class _Parser:
    """One run over one expression; counts its parts."""

    def __init__(self) -> None:
        self._parts = 0

    def parse(self, expression: object, path: str, depth: int) -> Filter:
        if depth > MAX_DEPTH:
            raise _fault(path, f"is nested deeper than {MAX_DEPTH} levels")
        self._count(1, path)
        if not isinstance(expression, list):
            raise _fault(
                path, 'must be a list such as ["color", "Eq", "red"] or ["And", [...]]', expression
            )
        if len(expression) == 2 and expression[0] in _LOGICAL:
            return self._logical(expression, path, depth)
        if len(expression) not in (3, 4):
            raise _fault(
                path,
                'must be [attribute, operator, value], ["And", [...]], ["Or", [...]] or '
                f'["Not", filter], not a list of {len(expression)}',
            )
        return self._condition(expression, path)

    def _logical(self, expression: list[object], path: str, depth: int) -> Filter:
        operator, operand = expression
        if operator == "Not":
            return Not(self.parse(operand, f"{path}[1]", depth + 1), path)
        if not isinstance(operand, list):
            raise _fault(f"{path}[1]", f"must be a list of filters for {operator}", operand)
        parts = tuple(
            self.parse(part, f"{path}[1][{at}]", depth + 1) for at, part in enumerate(operand)
        )
        return And(parts, path) if operator == "And" else Or(parts, path)

    def _condition(self, expression: list[object], path: str) -> Condition:
        attribute, name, value = expression[:3]
        if not isinstance(attribute, str) or not attribute:
            raise _fault(f"{path}[0]", "must be an attribute's name", attribute)
        operator = _operator(name, f"{path}[1]")
        operand = self._operand(operator, value, f"{path}[2]")
        options: object = expression[3] if len(expression) == 4 else {}
        if len(expression) == 4 and operator not in _WITH_OPTIONS:
            raise _fault(f"{path}[3]", f"is one too many: {operator} takes no options")
        if not isinstance(options, dict):
            raise _fault(f"{path}[3]", "must be an object of options", options)
        return Condition(attribute, operator, operand, options, path)

    def _operand(
        self, operator: Operator, value: object, path: str
    ) -> Scalar | tuple[Scalar, ...] | None:
        if operator in _LISTS:
            if not isinstance(value, list):
                raise _fault(path, f"must be a list of values for {operator}", value)
            return self._scalars(value, path)
        if operator in _TEXTS or (operator in _TOKENS and not isinstance(value, list)):
            if not isinstance(value, str):
                raise _fault(path, f"must be a string for {operator}", value)
            return value
        if isinstance(value, list) and operator not in _RANGES:
            return self._scalars(value, path)
        # Null orders below every value, so ranges take it as well.
        if value is not None and not isinstance(value, Scalar):
            raise _fault(path, f"must be a single value for {operator}", value)
        return value

    def _scalars(self, values: list[object], path: str) -> tuple[Scalar, ...]:
        self._count(len(values), path)
        scalars: list[Scalar] = []
        for at, value in enumerate(values):
            if not isinstance(value, Scalar):
                raise _fault(f"{path}[{at}]", "must be a string, a number or a boolean", value)
            scalars.append(value)
        return tuple(scalars)

    def _count(self, parts: int, path: str) -> None:
        self._parts += parts
        if self._parts > MAX_PARTS:
            raise _fault(path, f"makes the expression larger than {MAX_PARTS} parts")


def _operator(name: object, path: str) -> Operator:
    if not isinstance(name, str):
        raise _fault(path, "must be an operator's name", name)
    try:
        return Operator(name)
    except ValueError:
        near = difflib.get_close_matches(name[:64], list(Operator), n=1)
        hint = f"; did you mean {near[0]!s}?" if near else ""
        raise _fault(path, f"{name[:64]!r} is no operator{hint}") from None


_NAMES: Final[Sequence[tuple[type, str]]] = (
    (bool, "a boolean"),
    (str, "a string"),
    (int, "a number"),
    (float, "a number"),
    (list, "a list"),
    (dict, "an object"),
)
_NOTHING: Final = object()


def _fault(path: str, problem: str, found: object = _NOTHING) -> LayerError:
    """The sentence for a fault: where, what, and the kind of value that stands there."""
    if found is _NOTHING:
        return LayerError.validation(f"{path}: {problem}")
    kind = next((name for kind, name in _NAMES if isinstance(found, kind)), "null")
    return LayerError.validation(f"{path}: {problem}, not {kind}")
