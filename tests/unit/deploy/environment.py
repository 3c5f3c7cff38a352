"""What the programs read from the environment, by variable."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import AliasChoices, AliasPath
from pydantic_settings import BaseSettings

import services
from services.upstream.turbopuffer_store import TurbopufferSettings

__all__ = ["server_settings", "variables"]


def server_settings() -> dict[str, type[BaseSettings]]:
    """The settings class of each server, by the name that `layer` knows it by."""
    root = Path(services.__path__[0])
    found: dict[str, type[BaseSettings]] = {}
    for file in sorted(root.glob("*/settings.py")):
        name = file.parent.name
        module = importlib.import_module(f"services.{name}.settings")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, BaseSettings)
                and value.__module__ == module.__name__
            ):
                found[name] = value
    return found


def variables(*classes: type[BaseSettings]) -> set[str]:
    """The variables that those classes read, and Turbopuffer's, which all servers need."""
    every: list[type[BaseSettings]] = [*classes, TurbopufferSettings]
    return {name for each in every for name in _variables(each)}


def _variables(settings: type[BaseSettings]) -> Iterator[str]:
    prefix = str(settings.model_config.get("env_prefix", ""))
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        assert not isinstance(alias, AliasChoices | AliasPath)
        yield alias or f"{prefix}{name}".upper()
