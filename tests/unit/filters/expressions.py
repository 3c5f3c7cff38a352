"""Random filters and documents of a small schema, so that they often meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

texts = st.text("abB*?", max_size=3)
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([-0.5, 0.0, 1.0, 2.5]))
booleans = st.booleans()
ATTRIBUTES: dict[str, tuple[st.SearchStrategy[Any], bool]] = {
    "text": (texts, False),
    "number": (numbers, False),
    "flag": (booleans, False),
    "texts": (texts, True),
    "numbers": (numbers, True),
}
documents = st.fixed_dictionaries(
    {"id": st.integers(0, 5)},
    optional={
        name: st.one_of(st.none(), st.lists(values, max_size=3) if is_array else values)
        for name, (values, is_array) in ATTRIBUTES.items()
    },
)


@st.composite
def conditions(draw: st.DrawFn) -> list[Any]:
    name = draw(st.sampled_from(list(ATTRIBUTES)))
    values, is_array = ATTRIBUTES[name]
    if is_array:
        operator = draw(
            st.sampled_from(
                [
                    "Contains",
                    "NotContains",
                    "AnyLt",
                    "AnyLte",
                    "AnyGt",
                    "AnyGte",
                    "ContainsAny",
                    "NotContainsAny",
                    "In",
                    "NotIn",
                ]
            )
        )
    else:
        operator = draw(st.sampled_from(["Eq", "NotEq", "Lt", "Lte", "Gt", "Gte", "In", "NotIn"]))
    if name.startswith("text") and draw(st.booleans()):
        operator = draw(st.sampled_from(["Glob", "NotGlob", "IGlob", "NotIGlob"]))
        return [name, operator, draw(texts.filter(lambda text: "**" not in text))]
    if operator.endswith(("In", "ContainsAny")):
        return [name, operator, draw(st.lists(values, max_size=3))]
    if operator in ("Eq", "NotEq", "Lt", "Lte", "Gt", "Gte"):
        return [name, operator, draw(st.one_of(st.none(), values))]
    return [name, operator, draw(values)]


filters = st.recursive(
    conditions(),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["And", "Or"]), st.lists(inner, min_size=1, max_size=3)).map(
            list
        ),
        inner.map(lambda part: ["Not", part]),
    ),
    max_leaves=6,
)
