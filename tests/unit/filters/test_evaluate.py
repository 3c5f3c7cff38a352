"""Evaluation against the naive model and against the laws of logic."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.filters.evaluate import evaluate, matcher, unsupported
from services.filters.parse import parse_filter
from tests.doubles.naive_filters import naive_match
from tests.unit.filters.expressions import documents, filters


def holds(expression: Any, document: dict[str, Any]) -> bool:
    return evaluate(parse_filter(expression), document)


@given(filters, st.lists(documents, min_size=1, max_size=5))
def test_evaluation_is_the_naive_models(expression: Any, rows: list[dict[str, Any]]) -> None:
    test = matcher(parse_filter(expression))
    assert [test(row) for row in rows] == [naive_match(expression, row) for row in rows]


@given(st.lists(filters, min_size=1, max_size=3), documents)
def test_de_morgan(parts: list[Any], document: dict[str, Any]) -> None:
    negated = [["Not", part] for part in parts]
    assert holds(["Not", ["And", parts]], document) == holds(["Or", negated], document)
    assert holds(["Not", ["Or", parts]], document) == holds(["And", negated], document)
    assert holds(["Not", ["Not", parts[0]]], document) == holds(parts[0], document)


@pytest.mark.parametrize(
    ("operator", "negation"),
    [("Eq", "NotEq"), ("In", "NotIn"), ("Lt", "Gte"), ("Lte", "Gt"), ("Glob", "NotGlob")],
)
@given(document=documents, operand=st.text("ab", max_size=2))
def test_negations(operator: str, negation: str, document: dict[str, Any], operand: str) -> None:
    value: Any = [operand] if operator == "In" else operand
    assert holds(["text", operator, value], document) != holds(["text", negation, value], document)


@pytest.mark.parametrize(
    ("condition", "of_null", "of_value"),
    [
        (["a", "Eq", None], True, False),
        (["a", "NotEq", None], False, True),
        (["a", "NotEq", 1], True, False),
        (["a", "NotIn", [1]], True, False),
        (["a", "NotContains", 1], True, True),
        (["a", "NotGlob", "x"], True, True),
        (["a", "Lt", 2], True, True),
        (["a", "Lte", 1], True, True),
        (["a", "Gt", 0], False, True),
        (["a", "Gte", 1], False, True),
        (["a", "Gte", None], True, True),
        (["a", "Lte", None], True, False),
        (["a", "Gt", None], False, True),
        (["a", "Lt", None], False, False),
        (["a", "AnyLt", 2], False, False),
    ],
)
def test_null(condition: list[Any], of_null: bool, of_value: bool) -> None:
    assert holds(condition, {"id": 1}) is of_null
    assert holds(condition, {"id": 1, "a": None}) is of_null
    assert holds(condition, {"id": 1, "a": 1}) is of_value


def test_booleans_are_no_numbers() -> None:
    assert not holds(["a", "Eq", 1], {"a": True})
    assert not holds(["a", "In", [0]], {"a": False})
    assert not holds(["a", "Contains", True], {"a": [1]})
    assert not holds(["a", "Gte", 0], {"a": True})
    assert holds(["a", "Eq", 1], {"a": 1.0})


def test_integers_are_compared_exactly() -> None:
    assert not holds(["a", "Eq", 2**53], {"a": 2**53 + 1})
    assert holds(["a", "Gt", 2**64 - 2], {"a": 2**64 - 1})


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        (["a", "Regex", "x"], "filters[1]"),
        (["And", [["a", "Eq", 1], ["a", "Fuzzy", "x"]]], "filters[1][1][1]"),
        (["Not", ["a", "ContainsAllTokens", "x y"]], "filters[1][1]"),
        (["a", "ContainsAnyToken", ["x"], {"last_as_prefix": True}], "filters[1]"),
        (["a", "ContainsTokenSequence", "x y"], "filters[1]"),
        (["a", "Glob", "[ab]*"], "filters[2]"),
        (["a", "NotIGlob", "{a,b}"], "filters[2]"),
        (["a", "Eq", ["x"]], "filters[2]"),
        (["a", "AnyLt", None], "filters[2]"),
        (["a", "Contains", None], "filters[2]"),
        (["Or", [["And", []], ["a", "Eq", 1]]], "filters[1][0][1]"),
    ],
)
def test_what_is_uncertain_here_is_refused_by_its_path(expression: Any, path: str) -> None:
    tree = parse_filter(expression)
    assert unsupported(tree) == path
    with pytest.raises(ValueError, match="cannot be evaluated"):
        matcher(tree)


def test_types_with_several_spellings_are_uncertain() -> None:
    tree = parse_filter(["And", [["id", "Gt", 3], ["at", "Gt", "2026-01-01T00:00:00Z"]]])
    assert unsupported(tree) is None
    assert unsupported(tree, {"at": "string"}) is None
    assert unsupported(tree, {"at": "datetime"}) == "filters[1][1][0]"
    assert unsupported(tree, {"at": "[]uuid"}) == "filters[1][1][0]"


def test_globs_do_not_take_exponential_time() -> None:
    assert not holds(["a", "Glob", "*a" * 30 + "b"], {"a": "a" * 60})
