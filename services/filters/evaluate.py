"""Filters over documents in memory, with Turbopuffer's meaning of null.

A document is a mapping of attributes; one that is missing is null. Null orders below every value,
so `Lt` and `Lte` match null and `Gt` and `Gte` do not; the negative operators are the exact
negations of the positive ones, so they match null.
"""

from __future__ import annotations

import fnmatch
import operator as compare
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from services.filters.tree import And, Condition, Filter, Not, Operator, Or, Scalar, walk

__all__ = ["Document", "evaluate", "matcher", "unsupported"]

Document = Mapping[str, Any]
_Test = Callable[[Document], bool]
_ValueTest = Callable[[Any], bool]

_UNSUPPORTED: Final = frozenset(
    {
        Operator.REGEX,
        Operator.FUZZY,
        Operator.CONTAINS_ALL_TOKENS,
        Operator.CONTAINS_ANY_TOKEN,
        Operator.CONTAINS_TOKEN_SEQUENCE,
    }
)
_NEGATIONS: Final = {
    Operator.NOT_EQ: Operator.EQ,
    Operator.NOT_IN: Operator.IN,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_CONTAINS_ANY: Operator.CONTAINS_ANY,
    Operator.NOT_GLOB: Operator.GLOB,
    Operator.NOT_I_GLOB: Operator.I_GLOB,
}
_RANGES: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.LT: compare.lt,
    Operator.LTE: compare.le,
    Operator.GT: compare.gt,
    Operator.GTE: compare.ge,
}
_ANY_RANGES: Final[Mapping[Operator, Callable[[Any, Any], bool]]] = {
    Operator.ANY_LT: compare.lt,
    Operator.ANY_LTE: compare.le,
    Operator.ANY_GT: compare.gt,
    Operator.ANY_GTE: compare.ge,
}
_GLOBS: Final = frozenset({Operator.GLOB, Operator.I_GLOB, Operator.NOT_GLOB, Operator.NOT_I_GLOB})
# Classes, alternatives and escapes differ between dialects of globs; `*` and `?` do not.
_GLOB_DIALECT: Final = re.compile(r"[\[\]{}\\]|\*\*")
_PLAIN_TYPES: Final = frozenset({"string", "int", "uint", "float", "bool"})


def unsupported(tree: Filter, types: Mapping[str, str] | None = None) -> str | None:
    """The path of the first part whose meaning is not certain here, if there is one: tokens,
    regular expressions and fuzzy matching depend on the upstream's analysers; dialects of globs,
    empty And and Or, and comparisons of whole arrays are not documented.

    Args:
        types: schema types by attribute. Where given, an attribute of another type than string,
            number or boolean (or array of those) is uncertain too: such values have several
            spellings.
    """
    for node in walk(tree):
        if isinstance(node, And | Or) and not node.parts:
            return f"{node.path}[1]"
        if isinstance(node, Condition):
            at = _uncertain(node, types)
            if at is not None:
                return f"{node.path}[{at}]"
    return None


def _uncertain(condition: Condition, types: Mapping[str, str] | None) -> int | None:
    """Which element of a condition cannot be evaluated, if one cannot."""
    if types is not None and condition.attribute != "id":
        declared = types.get(condition.attribute, "").removeprefix("[]")
        if declared not in _PLAIN_TYPES:
            return 0
    operator, operand = condition.operator, condition.operand
    if operator in _UNSUPPORTED:
        return 1
    if operator in _GLOBS and _GLOB_DIALECT.search(str(operand)):
        return 2
    if operator in (Operator.EQ, Operator.NOT_EQ) and isinstance(operand, tuple):
        return 2
    if operator in _ANY_RANGES and operand is None:
        return 2
    if operator in (Operator.CONTAINS, Operator.NOT_CONTAINS) and not isinstance(operand, Scalar):
        return 2
    return None


def evaluate(tree: Filter, document: Document) -> bool:
    """Whether a document matches. For many documents, take `matcher` once."""
    return matcher(tree)(document)


def matcher(tree: Filter) -> Callable[[Document], bool]:
    """A test of documents. A value of another type than the operand's equals it never and is in
    no order with it; upstream, such a filter is refused.

    Raises:
        ValueError: a part is `unsupported`.
    """
    path = unsupported(tree)
    if path is not None:
        raise ValueError(f"{path} cannot be evaluated here")
    return _test(tree)


def _test(tree: Filter) -> _Test:
    """Recursion is bounded by `parse.MAX_DEPTH`."""
    if isinstance(tree, Condition):
        return _condition(tree)
    if isinstance(tree, Not):
        part = _test(tree.part)
        return lambda document: not part(document)
    parts = [_test(part) for part in tree.parts]
    if isinstance(tree, And):
        return lambda document: all(part(document) for part in parts)
    return lambda document: any(part(document) for part in parts)


def _condition(condition: Condition) -> _Test:
    attribute = condition.attribute
    positive = _NEGATIONS.get(condition.operator)
    test = _value_test(positive or condition.operator, condition.operand)
    if positive is not None:
        return lambda document: not test(document.get(attribute))
    return lambda document: test(document.get(attribute))


def _value_test(operator: Operator, operand: Any) -> _ValueTest:  # noqa: ANN401 - JSON
    """The test of one attribute's value, for the operators that negate nothing."""
    if operator is Operator.EQ:
        wanted = _key(operand)
        return lambda value: not isinstance(value, list) and _key(value) == wanted
    if operator is Operator.CONTAINS:
        return _has_any([operand], of_scalars=False)
    if operator is Operator.CONTAINS_ANY:
        return _has_any(operand, of_scalars=False)
    if operator is Operator.IN:
        return _has_any(operand, of_scalars=True)
    if operator in _RANGES:
        return _range(_RANGES[operator], operand)
    if operator in _ANY_RANGES:
        return _any_range(_ANY_RANGES[operator], operand)
    return _glob(operand, ignore_case=operator is Operator.I_GLOB)


def _key(value: Any) -> tuple[bool, Any]:  # noqa: ANN401 - JSON
    """A value so that equality is JSON's: in Python, True is 1."""
    return isinstance(value, bool), value


def _has_any(operands: Iterable[Scalar], *, of_scalars: bool) -> _ValueTest:
    """Whether an array has one of the operands or, `of_scalars`, a scalar is one of them."""
    wanted = {_key(operand) for operand in operands}

    def test(value: Any) -> bool:  # noqa: ANN401 - JSON
        if isinstance(value, list):
            return any(_key(element) in wanted for element in value)
        return of_scalars and _key(value) in wanted

    return test


def _range(holds: Callable[[Any, Any], bool], operand: Scalar | None) -> _ValueTest:
    null_holds = holds(0, 0) if operand is None else holds(0, 1)
    value_holds = holds(1, 0)

    def test(value: Any) -> bool:  # noqa: ANN401 - JSON
        if value is None:
            return null_holds
        if operand is None:
            return value_holds
        return _kind(value) is _kind(operand) and holds(value, operand)

    return test


def _any_range(holds: Callable[[Any, Any], bool], operand: Scalar) -> _ValueTest:
    kind = _kind(operand)

    def test(value: Any) -> bool:  # noqa: ANN401 - JSON
        return isinstance(value, list) and any(
            _kind(element) is kind and holds(element, operand) for element in value
        )

    return test


def _kind(value: Any) -> type | None:  # noqa: ANN401 - JSON
    """What values can be ordered among each other; None for what is in no order."""
    if isinstance(value, bool | str):
        return type(value)
    return float if isinstance(value, int | float) else None


def _glob(pattern: str, *, ignore_case: bool) -> _ValueTest:
    matches = re.compile(fnmatch.translate(pattern), re.IGNORECASE if ignore_case else 0).match

    def test(value: Any) -> bool:  # noqa: ANN401 - JSON
        elements = value if isinstance(value, list) else [value]
        return any(isinstance(element, str) and bool(matches(element)) for element in elements)

    return test
