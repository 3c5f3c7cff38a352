"""Attribute types: what is kept, what comes back, and what is refused."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import Store

UUID = "6F1C2B0A-0000-4000-8000-00000000000A"
VECTORS = {"distance_metric": "cosine_distance"}


def float_bytes(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize(
    ("type_name", "given", "expected"),
    [
        ("string", "x", "x"),
        ("string", "", ""),
        ("int", -(2**63), -(2**63)),
        ("int", 2**63 - 1, 2**63 - 1),
        ("int", 3.0, 3),
        ("uint", 2**64 - 1, 2**64 - 1),
        ("uint", 2**53 + 1, 2**53 + 1),
        ("float", 1, 1.0),
        ("float", 0.1, 0.1),
        ("float", 1e308, 1e308),
        ("bool", True, True),
        ("uuid", UUID, UUID.lower()),
        ("datetime", "2024-03-02", "2024-03-02T00:00:00.000000000Z"),
        ("datetime", "2024-03-02T01:00:00+01:00", "2024-03-02T00:00:00.000000000Z"),
        ("datetime", "2024-03-02T00:00:00.123456Z", "2024-03-02T00:00:00.123456000Z"),
        ("datetime", 1_709_337_600_001, "2024-03-02T00:00:00.001000000Z"),
        ("bytes", "AAEC", "AAEC"),
        ("[]string", ["a", "a", ""], ["a", "a", ""]),
        ("[]int", [2**63 - 1, -1], [2**63 - 1, -1]),
        ("[]uint", [2**64 - 1], [2**64 - 1]),
        ("[]float", [1, 2.5], [1.0, 2.5]),
        ("[]uuid", [UUID], [UUID.lower()]),
        ("[]datetime", [0], ["1970-01-01T00:00:00.000000000Z"]),
        ("[]bool", [True, False], [True, False]),
        ("[]string", [], []),
        ("[2]f32", [0.1, 2], [0.1, 2.0]),
        ("[2]f32", float_bytes(0.1, 2), [0.1, 2.0]),
        ("[2]f16", [0.5, 0.1], [0.5, 0.099975586]),
        ("[2]i8", [-128, 127], [-128.0, 127.0]),
        ("[2]i8", float_bytes(-128, 127), [-128.0, 127.0]),
    ],
)
def test_a_declared_type_keeps(store: Store, type_name: str, given: Any, expected: Any) -> None:
    store.upsert({"id": 1, "x": given}, {"id": 2}, schema={"x": {"type": type_name}}, **VECTORS)

    first, second = store.rows()

    assert first["x"] == expected
    assert type(first["x"]) is type(expected)
    assert second == {"id": 2}


@pytest.mark.parametrize(
    ("type_name", "given"),
    [
        ("string", 1),
        ("int", "1"),
        ("int", 1.5),
        ("int", True),
        ("int", 2**63),
        ("int", -(2**63) - 1),
        ("int", 2**80),
        ("uint", -1),
        ("uint", 2**64),
        ("float", "x"),
        ("float", 10**400),
        ("bool", 1),
        ("uuid", "not-a-uuid"),
        ("datetime", "yesterday"),
        ("datetime", 10**30),
        ("datetime", True),
        ("bytes", "!!"),
        ("[]string", "a"),
        ("[]string", ["a", 1]),
        ("[]int", [1, None]),
        ("[2]f32", [1]),
        ("[2]f32", [1, "x"]),
        ("[2]f32", [1, None]),
        ("[2]f32", [1, 1e300]),
        ("[2]f32", "!!"),
        ("[2]f32", float_bytes(1)),
        ("[2]f16", [1, 1e6]),
        ("[2]i8", [1, 1.5]),
        ("[2]i8", [1, 300]),
    ],
)
def test_a_declared_type_refuses(store: Store, type_name: str, given: Any) -> None:
    with pytest.raises(DevstoreError) as refused:
        store.upsert({"id": 1, "x": given}, schema={"x": type_name}, **VECTORS)

    assert refused.value.status == 400
    with pytest.raises(DevstoreError) as absent:
        store.rows()
    assert absent.value.status == 404


def test_types_are_inferred_from_the_first_value(store: Store) -> None:
    store.upsert(
        {"id": 1, "late": None},
        {
            "id": 2,
            "s": "x",
            "i": -1,
            "f": 0.5,
            "b": True,
            "ss": ["a"],
            "is": [1],
            "fs": [0.5],
            "bs": [False],
            "empty": [],
            "looks_like_a_uuid": UUID,
            "late": 7,
            "vector": [1, 2, 3],
        },
        **VECTORS,
    )
    with store.database.reading() as cursor:
        types = {n: a.type for n, a in store.database.get(cursor, "n").schema.attributes.items()}

    assert types == {
        "id": "uint",
        "s": "string",
        "i": "int",
        "f": "float",
        "b": "bool",
        "ss": "[]string",
        "is": "[]int",
        "fs": "[]float",
        "bs": "[]bool",
        "empty": "[]string",
        "looks_like_a_uuid": "string",
        "late": "int",
        "vector": "[3]f32",
    }


@pytest.mark.parametrize(
    "value",
    [{"a": 1}, [[1]], [None]],
)
def test_no_type_can_be_inferred(store: Store, value: Any) -> None:
    with pytest.raises(DevstoreError, match="cannot infer"):
        store.upsert({"id": 1, "x": value})


def test_a_type_cannot_change(store: Store) -> None:
    store.upsert({"id": 1, "x": 1})

    with pytest.raises(DevstoreError, match="type mismatch"):
        store.upsert({"id": 2, "x": "text"})
    with pytest.raises(DevstoreError, match="cannot change the type"):
        store.write(schema={"x": "string"})
    assert store.rows() == [{"id": 1, "x": 1}]


@pytest.mark.parametrize(
    "schema",
    [
        {"x": "number"},
        {"x": "[]bytes"},
        {"x": "[0]f32"},
        {"x": "[20000]f32"},
        {"x": {}},
        {"x": {"type": "int", "full_text_search": True}},
        {"x": {"type": "string", "full_text_search": {"k1": 0}}},
        {"x": {"type": "string", "full_text_search": {"b": 1.1}}},
        {"x": {"type": "string", "full_text_search": {"max_token_length": 255}}},
        {"x": {"type": "string", "full_text_search": {"tokenizer": "pre_tokenized_array"}}},
        {"x": {"type": "string", "full_text_search": {"stemmer": True}}},
        {"x": {"type": "string", "full_text_search": {"language": "klingon", "stemming": True}}},
        {"x": {"type": "bytes", "filterable": True}},
        {"x": {"type": "[2]f32", "filterable": True}},
        {"x": {"drop": True}},
        {"$x": "int"},
        {"": "int"},
        {"x" * 129: "int"},
        {"id": "int"},
    ],
)
def test_a_declaration_is_refused(store: Store, schema: Any) -> None:
    with pytest.raises(DevstoreError) as refused:
        store.upsert({"id": 1}, schema=schema)

    assert refused.value.status == 400


def test_values_have_limits(store: Store) -> None:
    store.upsert(
        {"id": "i" * 64, "text": "t" * 5000, "short": "s" * 4096},
        schema={"text": {"type": "string", "filterable": False}},
    )

    for row in ({"id": "i" * 65}, {"id": "a", "short": "s" * 4097}, {"id": "a", "é": "é" * 2049}):
        with pytest.raises(DevstoreError, match="longer than"):
            store.upsert(row)


def test_more_than_1024_attributes_are_refused(store: Store) -> None:
    with pytest.raises(DevstoreError, match="at most 1024"):
        store.upsert({"id": 1, **{f"a{i}": 1 for i in range(1024)}})


@pytest.mark.parametrize(
    ("declared", "ids", "wrong"),
    [
        (None, [0, 1, 2**64 - 1], ["1", -1, 2**64, True, 1.5, None]),
        (None, ["a", "b", "c"], [1, None, ["a"]]),
        ("uuid", [UUID.lower()], ["abc", 1, None]),
        # Only a declared id is a UUID: what looks like one is a string among strings.
        (None, [UUID, "abc"], [1]),
    ],
)
def test_a_namespace_has_one_kind_of_ids(
    store: Store, declared: str | None, ids: list[Any], wrong: list[Any]
) -> None:
    store.upsert(*({"id": value} for value in ids), schema={"id": declared} if declared else {})

    for value in wrong:
        with pytest.raises(DevstoreError) as refused:
            store.upsert({"id": value})
        assert refused.value.status == 400
    assert sorted(map(str, store.ids())) == sorted(map(str, ids))


def test_large_integers_are_exact_everywhere(store: Store) -> None:
    large = 2**64 - 1
    store.upsert({"id": large, "u": large - 1, "i": -(2**63)}, schema={"u": "uint"})

    assert store.rows(filters=["u", "Eq", large - 1]) == [
        {"id": large, "u": large - 1, "i": -(2**63)}
    ]
    assert store.ids(["id", "Gt", large - 1]) == [large]
    assert store.ids(["u", "Gt", large - 1]) == []
    sums = {"u": ["Sum", "u"], "i": ["Sum", "i"]}
    assert store.ask(aggregate_by=sums).body["aggregations"] == {"u": large - 1, "i": -(2**63)}


@pytest.mark.parametrize(
    ("type_name", "size", "packed"),
    [("[2]f32", 8, "<2f"), ("[2]f16", 4, "<2e"), ("[2]i8", 2, "2b")],
)
def test_base64_vectors_have_the_width_of_their_type(
    store: Store, type_name: str, size: int, packed: str
) -> None:
    store.upsert({"id": 1, "v": [1, -2]}, {"id": 2}, schema={"v": type_name}, **VECTORS)

    first, second = store.rows(vector_encoding="base64")

    raw = base64.b64decode(first["v"])
    assert len(raw) == size
    assert struct.unpack(packed, raw) == (1, -2)
    assert second == {"id": 2}
