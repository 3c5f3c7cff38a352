"""Writes the README's table of settings from the settings classes.

`python -m tools.settings_table` writes; with `--check` it exits 1 when the table is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from services.devstore.settings import DevstoreSettings
from services.document.settings import DocumentSettings
from services.edge.settings import ServerSettings
from services.gateway.settings import GatewaySettings
from services.history.settings import HistorySettings
from services.searchlog.settings import SearchLogSettings
from services.snapshot.settings import SnapshotSettings
from services.upstream.turbopuffer_store import TurbopufferSettings
from services.wiring.stores import StoreSettings

README: Final = Path(__file__).resolve().parent.parent / "README.md"
BEGIN: Final = "<!-- settings: written by tools/settings_table.py -->\n"
END: Final = "<!-- settings end -->\n"
SECTIONS: Final[Sequence[tuple[str, type[BaseSettings]]]] = (
    ("Upstream, for every process", TurbopufferSettings),
    ("Every service", ServerSettings),
    ("Stores, for every service", StoreSettings),
    ("Gateway", GatewaySettings),
    ("SnapshotService", SnapshotSettings),
    ("HistoryService", HistorySettings),
    ("SearchLogService", SearchLogSettings),
    ("DocumentService", DocumentSettings),
    ("Development upstream", DevstoreSettings),
)


def table() -> str:
    """The table in Markdown; each variable stands once, in the first section that has it."""
    seen: set[str] = set()
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for title, settings in SECTIONS:
        rows = [
            (variable, field)
            for name, field in settings.model_fields.items()
            if (variable := variable_of(settings, name, field)) not in seen
        ]
        seen.update(variable for variable, _ in rows)
        lines.append(f"| **{title}** | | |")
        lines += [f"| `{v}` | {default_of(f)} | {f.description} |" for v, f in rows]
    return "\n".join(lines) + "\n"


def variable_of(settings: type[BaseSettings], name: str, field: FieldInfo) -> str:
    """The environment variable of a field."""
    if isinstance(field.validation_alias, str):
        return field.validation_alias
    return f"{settings.model_config.get('env_prefix', '')}{name}".upper()


def default_of(field: FieldInfo) -> str:
    """How the default is shown."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "unset"
    if "certifi" in str(field.default):
        return "certifi's"
    return f"`{field.default}`"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    fresh = before + BEGIN + table() + END + after
    if "--check" in sys.argv[1:]:
        if fresh != text:
            sys.exit("README.md: the settings are stale, run `make gen`")
        return
    README.write_text(fresh, encoding="utf-8")


if __name__ == "__main__":
    main()
