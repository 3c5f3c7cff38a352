"""Turbopuffer's filter expressions as DuckDB predicates. Values are always bound, never text.

A predicate is null for a document without the attribute; which operators match such documents
is what the `coalesce` around each says (turbopuffer.com/docs/query, checked against the service).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from services.devstore.errors import DevstoreError
from services.devstore.schema import Attribute, Schema
from services.devstore.text_index import TextIndex
from services.devstore.values import column_value, shown

__all__ = ["Predicate", "TextIndexes", "compile_filter"]

_MAX_DEPTH: Final = 64


@dataclass
class Predicate:
    """SQL and the values of its `?` marks, in order."""

    sql: str
    values: list[Any] = field(default_factory=list)


TextIndexes = Callable[[Attribute], TextIndex]
"""The text index of an attribute; raises DevstoreError 400 when it has none."""


def compile_filter(
    schema: Schema,
    expression: Any,  # noqa: ANN401 - any JSON value
    text_indexes: TextIndexes,
    depth: int = 0,
) -> Predicate:
    """A filter as a predicate that is never null.

    Raises:
        DevstoreError: 400, an unknown attribute or a value of the wrong type; 422, no filter.
    """
    if depth > _MAX_DEPTH:
        raise DevstoreError.bad_request("filters are nested too deep")
    if not isinstance(expression, list) or not expression:
        raise DevstoreError.unreadable("invalid filter: expected an array")
    head = expression[0]
    if head in ("And", "Or") and len(expression) == 2 and isinstance(expression[1], list):
        parts = [compile_filter(schema, part, text_indexes, depth + 1) for part in expression[1]]
        joined = f" {head.upper()} ".join(f"({part.sql})" for part in parts)
        empty = "true" if head == "And" else "false"
        return Predicate(joined or empty, [value for part in parts for value in part.values])
    if head == "Not" and len(expression) == 2:
        inner = compile_filter(schema, expression[1], text_indexes, depth + 1)
        return Predicate(f"NOT ({inner.sql})", inner.values)
    if len(expression) not in (3, 4) or not all(isinstance(x, str) for x in expression[:2]):
        raise DevstoreError.unreadable(f"invalid filter: {str(expression)[:100]}")
    _, operator, value, *options = expression
    given = options[0] if options else None
    if given is not None and not isinstance(given, Mapping):
        raise DevstoreError.unreadable("filter options: expected a map")
    attribute = schema.get(head)
    if operator in _TOKEN_OPERATORS:
        index = text_indexes(attribute)
        return _by_tokens(schema.identity, attribute, index, operator, value, given or {})
    return _condition(attribute, operator, value, given or {})


def _by_tokens(
    identity: Attribute,
    attribute: Attribute,
    index: TextIndex,
    operator: str,
    value: Any,  # noqa: ANN401
    options: Mapping[str, Any],
) -> Predicate:
    is_list = isinstance(value, list) and all(isinstance(token, str) for token in value)
    if not isinstance(value, str) and not is_list:
        raise _mismatch(attribute, operator, "string", value)
    ids = index.containing(operator, value, last_as_prefix=bool(options.get("last_as_prefix")))
    return Predicate(
        f"{identity.column} IN (SELECT unnest(?::{identity.sql_type}[]))", values=[ids]
    )


_Maker = Callable[[Attribute, str, Any], Predicate]
"""Of an attribute, the operator as it was written (it may be negated), and the value."""


def _condition(
    attribute: Attribute,
    operator: str,
    value: Any,  # noqa: ANN401
    options: Mapping[str, Any],
) -> Predicate:
    if operator == "Fuzzy":
        raise DevstoreError.unsupported("filter operator 'Fuzzy'")
    if not attribute.filterable:
        raise DevstoreError.bad_request(f"attribute {attribute.name!r} is not filterable")
    if options:
        raise DevstoreError.bad_request(f"filter operator {operator!r} has no options")
    negated = operator.startswith("Not")
    positive = (
        "Eq" if operator == "NotEq" else operator.removeprefix("Not") if negated else operator
    )
    maker = _MAKERS.get(positive)
    if maker is None or (negated and positive not in _NEGATABLE):
        raise DevstoreError.bad_request(f"unsupported filter operator {operator!r}")
    made = maker(attribute, operator, value)
    # An id is never null, and a bare comparison lets DuckDB skip parts of the table.
    sql = f"({made.sql})" if attribute.name == "id" else f"coalesce({made.sql}, false)"
    return Predicate(f"NOT {sql}" if negated else sql, made.values)


def _mismatch(
    attribute: Attribute,
    operator: str,
    expected: str,
    value: Any,  # noqa: ANN401
) -> DevstoreError:
    return DevstoreError.bad_request(
        f"filter error in key `{attribute.name}`: type mismatch, {operator} expects {expected}, "
        f"but got {shown(value)}"
    )


def _bound(attribute: Attribute, operator: str, value: Any) -> Any:  # noqa: ANN401
    """One value of the attribute's (element) type; null is none."""
    if value is None:
        raise _mismatch(attribute, operator, attribute.element, value)
    scalar = Attribute(attribute.name, attribute.element, attribute.column)
    try:
        return column_value(scalar, value)
    except DevstoreError:
        raise _mismatch(attribute, operator, attribute.element, value) from None


def _bound_list(attribute: Attribute, operator: str, value: Any) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, list) or any(element is None for element in value):
        raise DevstoreError.unreadable(f"{operator} on {attribute.name!r} expects an array")
    return [_bound(attribute, operator, element) for element in value]


def _equal(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
    column = attribute.column
    if value is None:
        return Predicate(f"{column} IS NULL")
    if attribute.is_array:
        try:
            bound = column_value(attribute, value)
        except DevstoreError:
            raise _mismatch(attribute, operator, attribute.type, value) from None
        return Predicate(f"{column} = ?::{attribute.sql_type}", [bound])
    return Predicate(f"{column} = ?::{attribute.sql_type}", [_bound(attribute, operator, value)])


def _in(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
    if attribute.is_array and not isinstance(value, list):
        value = [value]
    bound = _bound_list(attribute, operator, value)
    listed = f"?::{attribute.element_sql_type}[]"
    if attribute.is_array:
        return Predicate(f"list_has_any({attribute.column}, {listed})", [bound])
    return Predicate(f"{attribute.column} IN (SELECT unnest({listed}))", [bound])


def _contains(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
    if not attribute.is_array:
        raise _mismatch(attribute, operator, "an array attribute", value)
    bound = _bound(attribute, operator, value)
    return Predicate(f"list_contains({attribute.column}, ?::{attribute.element_sql_type})", [bound])


def _contains_any(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
    if not attribute.is_array:
        raise _mismatch(attribute, operator, "an array attribute", value)
    if not isinstance(value, list):
        raise _mismatch(attribute, operator, attribute.type, value)
    bound = _bound_list(attribute, operator, value)
    return Predicate(f"list_has_any({attribute.column}, ?::{attribute.sql_type})", [bound])


def _comparison(sign: str) -> _Maker:
    """Lt and Lte match documents without the attribute, as null sorts first; Gt and Gte do not."""

    def make(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
        column = attribute.column
        if attribute.is_array:
            raise _mismatch(attribute, operator, f"a scalar attribute (use Any{operator})", value)
        if value is None:
            fixed = {"Lt": "false", "Lte": f"{column} IS NULL", "Gt": f"{column} IS NOT NULL"}
            return Predicate(fixed.get(operator, "true"))
        compared = f"{column} {sign} ?::{attribute.sql_type}"
        bound = _bound(attribute, operator, value)
        if operator in ("Lt", "Lte"):
            return Predicate(f"({column} IS NULL OR {compared})", [bound])
        return Predicate(compared, [bound])

    return make


def _any_comparison(sign: str, extreme: str) -> _Maker:
    def make(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
        if not attribute.is_array:
            raise _mismatch(attribute, operator, "an array attribute", value)
        bound = _bound(attribute, operator, value)
        sql = f"{extreme}({attribute.column}) {sign} ?::{attribute.element_sql_type}"
        return Predicate(sql, [bound])

    return make


def _pattern(sql: str) -> _Maker:
    def make(attribute: Attribute, operator: str, value: Any) -> Predicate:  # noqa: ANN401
        if attribute.type != "string" or not isinstance(value, str):
            raise _mismatch(attribute, operator, "string", value)
        if operator == "Regex":
            try:
                re.compile(value)
            except re.error as error:
                raise DevstoreError.bad_request(f"invalid regular expression: {error}") from None
        return Predicate(sql.format(column=attribute.column), [value])

    return make


_TOKEN_OPERATORS: Final = frozenset(
    {"ContainsAllTokens", "ContainsAnyToken", "ContainsTokenSequence"}
)
_NEGATABLE: Final = frozenset({"Eq", "In", "Contains", "ContainsAny", "Glob", "IGlob"})
_MAKERS: Final[Mapping[str, _Maker]] = {
    "Eq": _equal,
    "In": _in,
    "Contains": _contains,
    "ContainsAny": _contains_any,
    "Lt": _comparison("<"),
    "Lte": _comparison("<="),
    "Gt": _comparison(">"),
    "Gte": _comparison(">="),
    "AnyLt": _any_comparison("<", "list_min"),
    "AnyLte": _any_comparison("<=", "list_min"),
    "AnyGt": _any_comparison(">", "list_max"),
    "AnyGte": _any_comparison(">=", "list_max"),
    "Glob": _pattern("{column} GLOB ?"),
    "IGlob": _pattern("lower({column}) GLOB lower(?)"),
    "Regex": _pattern("regexp_matches({column}, ?)"),
}
