"""The grammar, and the paths that its errors name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import ErrorKind, LayerError
from services.filters.parse import MAX_DEPTH, MAX_PARTS, parse_filter
from services.filters.tree import And, Condition, Not, Operator, Or, walk

EXAMPLES: dict[str, Any] = {
    "In": ["x"],
    "NotIn": ["x"],
    "ContainsAny": ["x"],
    "NotContainsAny": [1],
    "ContainsTokenSequence": ["x", "y"],
}


def refusal(expression: object) -> str:
    with pytest.raises(LayerError) as refused:
        parse_filter(expression)
    assert refused.value.kind is ErrorKind.VALIDATION
    return refused.value.message


@pytest.mark.parametrize("operator", list(Operator))
def test_every_operator(operator: Operator) -> None:
    tree = parse_filter(["a", operator.value, EXAMPLES.get(operator.value, "x")])
    assert isinstance(tree, Condition)
    assert tree.operator is operator


def test_a_tree() -> None:
    tree = parse_filter(
        ["And", [["Not", ["a", "Eq", None]], ["Or", [["b", "In", [1, 2.5]], ["And", "Lt", 3]]]]]
    )
    assert tree == And(
        (
            Not(Condition("a", Operator.EQ, None)),
            Or((Condition("b", Operator.IN, (1, 2.5)), Condition("And", Operator.LT, 3))),
        )
    )
    assert [node.path for node in walk(tree)] == [
        "filters",
        "filters[1][0]",
        "filters[1][0][1]",
        "filters[1][1]",
        "filters[1][1][1][0]",
        "filters[1][1][1][1]",
    ]


def test_options_are_kept_where_an_operator_takes_them() -> None:
    tree = parse_filter(["a", "ContainsAllTokens", "x", {"last_as_prefix": True}])
    assert isinstance(tree, Condition)
    assert tree.options == {"last_as_prefix": True}


@pytest.mark.parametrize(
    ("expression", "path", "problem"),
    [
        ("a", "filters:", "not a string"),
        ({}, "filters:", "not an object"),
        ([], "filters:", "a list of 0"),
        (["Xor", []], "filters:", "a list of 2"),
        (["a", "ContainAny", []], "filters[1]:", "did you mean ContainsAny?"),
        (["a", "§", 1], "filters[1]:", "is no operator"),
        (["a", 3, 1], "filters[1]:", "not a number"),
        ([1, "Eq", 1], "filters[0]:", "not a number"),
        (["", "Eq", 1], "filters[0]:", "attribute"),
        (["a", "Eq", {}], "filters[2]:", "not an object"),
        (["a", "In", 1], "filters[2]:", "not a number"),
        (["a", "In", [1, None]], "filters[2][1]:", "not null"),
        (["a", "In", [[1]]], "filters[2][0]:", "not a list"),
        (["a", "Lt", [1]], "filters[2]:", "not a list"),
        (["a", "Glob", 1], "filters[2]:", "a string for Glob"),
        (["a", "Fuzzy", "x", 1], "filters[3]:", "not a number"),
        (["a", "Eq", 1, {}], "filters[3]:", "takes no options"),
        (["And", ["a", "Eq", 1]], "filters[1][0]:", "not a string"),
        (["And", {}], "filters[1]:", "a list of filters for And"),
        (["Not", [["a", "Eq", 1]]], "filters[1]:", "a list of 1"),
        (["Or", [["a", "Eq", 1], ["Not", ["b", "Gte", {}]]]], "filters[1][1][1][2]:", "object"),
        (["And", [["a", "Eq", 1, 2, 3]]], "filters[1][0]:", "a list of 5"),
    ],
)
def test_errors_name_the_path(expression: object, path: str, problem: str) -> None:
    message = refusal(expression)
    assert message.startswith(path)
    assert problem in message


def nested(levels: int, word: str) -> Any:
    expression: Any = ["a", "Eq", 1]
    for _ in range(levels):
        expression = [word, expression if word == "Not" else [expression]]
    return expression


@pytest.mark.parametrize("word", ["Not", "And"])
def test_depth_is_bounded(word: str) -> None:
    parse_filter(nested(MAX_DEPTH - 1, word))
    assert f"nested deeper than {MAX_DEPTH}" in refusal(nested(MAX_DEPTH, word))
    assert "nested deeper" in refusal(nested(1_000, word))
    assert "nested deeper" in refusal(nested(100_000, word))


def test_size_is_bounded() -> None:
    parse_filter(["a", "In", [1] * (MAX_PARTS - 1)])
    assert refusal(["a", "In", [1] * MAX_PARTS]).startswith("filters[2]:")
    assert "larger than" in refusal(["Or", [["a", "Eq", 1]] * MAX_PARTS])


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from(["And", "Or", "Not", "Eq", "In", "a"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


@given(values)
def test_whatever_comes_is_parsed_or_refused(value: object) -> None:
    try:
        tree = parse_filter(value)
    except LayerError:
        assert refusal(value).startswith("filters")
    else:
        assert tree.path == "filters"
