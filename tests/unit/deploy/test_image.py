"""What the image installs is enough for every process, and no more than that."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_PIN = re.compile(r"^([a-z0-9._-]+)==([^ ;]+)", re.MULTILINE)

# Imports one module in a process in which only some modules can be found.
_IMPORT = """
import importlib, sys

class Absent:
    def __init__(self, names): self.names = set(names)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is not in the image")

sys.meta_path.insert(0, Absent(sys.argv[2].split(",")))
importlib.import_module(sys.argv[1])
"""


def pins(file: str) -> dict[str, str]:
    return dict(_PIN.findall((ROOT / file).read_text()))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_images_lock_is_a_part_of_the_whole_one() -> None:
    image, whole = pins("deploy/requirements.lock"), pins("requirements.lock")
    assert image.items() <= whole.items()
    assert not {"pytest", "mypy", "moto", "duckdb", "hypothesis"} & image.keys()
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "COPY deploy/requirements.lock ./" in dockerfile


def test_the_images_lock_has_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["build"]]
    names = {normal(re.split(r"[\[<>=]", each)[0]) for each in asked}
    assert names <= pins("deploy/requirements.lock").keys()


@pytest.mark.parametrize(
    "module",
    [
        "services.cli.__main__",
        "services.cli.plan",
        "services.snapshot.__main__",
        "services.history.__main__",
        "services.searchlog.__main__",
        "services.document.__main__",
        "services.gateway.__main__",
    ],
)
def test_every_process_starts_with_what_the_image_has(module: str) -> None:
    image = pins("deploy/requirements.lock").keys() | {"layer-history-plane", "pip", "setuptools"}
    absent = [
        name
        for name, distributions in packages_distributions().items()
        if not {normal(each) for each in distributions} & image
    ]
    assert "duckdb" in absent
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, module, ",".join(absent)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
