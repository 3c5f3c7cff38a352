"""JSON values through protobuf's doubles."""

import json
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import ErrorKind, LayerError
from services.edge.values import MAX_DEPTH, SAFE_INTEGER, from_value, to_struct

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(-SAFE_INTEGER, SAFE_INTEGER)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def value_of(data: Any) -> struct_pb2.Value:
    return json_format.ParseDict(data, struct_pb2.Value())


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_json_survives(data: dict[str, object]) -> None:
    struct = to_struct(data)
    assert json.loads(json_format.MessageToJson(struct)) == data
    assert from_value(struct_pb2.Value(struct_value=struct), "filters") == data


def test_whole_numbers_are_integers_again() -> None:
    assert from_value(value_of(["n", "Eq", 3]), "filters") == ["n", "Eq", 3]
    assert from_value(value_of(3.5), "filters") == 3.5
    assert from_value(struct_pb2.Value(), "filters") is None


def test_integers_that_a_double_rounds_are_refused() -> None:
    with pytest.raises(LayerError, match="2\\^53") as refused:
        from_value(value_of(["id", "Gt", SAFE_INTEGER + 2]), "filters")
    assert refused.value.kind is ErrorKind.VALIDATION


def test_large_integers_leave_as_strings() -> None:
    struct = to_struct({"id": 2**64 - 1, "small": 7})
    assert json_format.MessageToDict(struct) == {"id": str(2**64 - 1), "small": 7}


def test_deep_nesting_is_refused() -> None:
    value = struct_pb2.Value(string_value="x")
    for _ in range(MAX_DEPTH + 1):
        value = struct_pb2.Value(list_value=struct_pb2.ListValue(values=[value]))
    with pytest.raises(LayerError, match="deeper"):
        from_value(value, "filters")
