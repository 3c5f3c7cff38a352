"""Namespace names."""

import pytest

from services.core.errors import LayerError
from services.core.ids import parse_namespace


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 128, "...", ".a"])
def test_good_names(name: str) -> None:
    assert parse_namespace(name) == name


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "a/b", "..", ".", "a b", "a\0", "ä", "a\n", "%2F", "a\\b"]
)
def test_bad_names_never_reach_a_key(name: str) -> None:
    with pytest.raises(LayerError):
        parse_namespace(name)
