"""Settings from the environment; a wrong one is a line, not a traceback."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from services.edge.settings import ServerSettings, load_settings, parse_keys
from services.gateway.settings import GatewaySettings


def test_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAYER_DRAIN_SECONDS", "soon")
    with pytest.raises(SystemExit) as stopped:
        load_settings(ServerSettings)
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("LAYER_DRAIN_SECONDS: ")


def test_a_missing_variable_is_named_in_full(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TURBOPUFFER_API_KEY", raising=False)
    with pytest.raises(SystemExit):
        load_settings(GatewaySettings)
    assert capsys.readouterr().err == "TURBOPUFFER_API_KEY: Field required\n"


def test_keys_come_from_the_variable_or_a_file(tmp_path: Path) -> None:
    assert parse_keys(None) == ()
    assert parse_keys(SecretStr(" one, two ,")) == ("one", "two")
    file = tmp_path / "keys"
    file.write_text("one\n\ntwo\n")
    assert parse_keys(SecretStr(f"@{file}")) == ("one", "two")


def test_a_variable_without_a_key_is_refused_rather_than_open() -> None:
    with pytest.raises(ValueError, match="holds no key"):
        parse_keys(SecretStr(" , "))
