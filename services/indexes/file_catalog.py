"""Policies from `Index` resources in YAML files of one folder: the embedded default."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import yaml

from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace
from services.indexes.policy import CatalogView, PolicyProblem, SnapshotPolicy, parse_index

__all__ = ["FileIndexCatalog"]

_logger = logging.getLogger(__name__)


class FileIndexCatalog:
    """Reads `*.yaml` and `*.yml` in name order; a later document of a namespace wins.

    A document that is bad keeps its last good form; a file that is gone takes its policies along.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._good: dict[str, SnapshotPolicy] = {}
        self._reported: set[PolicyProblem] = set()

    async def load(self) -> CatalogView:
        return await asyncio.to_thread(self._load)

    def _load(self) -> CatalogView:
        good: dict[str, SnapshotPolicy] = {}
        problems: list[PolicyProblem] = []
        try:
            files = sorted(
                path for path in self._folder.iterdir() if path.suffix in (".yaml", ".yml")
            )
        except OSError as error:
            raise LayerError(
                ErrorKind.UNAVAILABLE, f"the policy folder cannot be read: {error.strerror}"
            ) from error
        for path in files:
            for name, policy in self._read(path):
                if isinstance(policy, PolicyProblem):
                    problems.append(policy)
                    kept = [key for key in self._good if key == name or key.startswith(f"{name}#")]
                    good.update((key, self._good[key]) for key in kept)
                else:
                    good[name] = policy
        self._good = good
        self._report(problems)
        by_namespace: dict[Namespace, SnapshotPolicy] = {p.namespace: p for p in good.values()}
        return CatalogView(by_namespace, problems)

    def _read(self, path: Path) -> Iterator[tuple[str, SnapshotPolicy | PolicyProblem]]:
        """The documents of a file as `name#position`, or one problem for the whole file."""
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            yield path.name, PolicyProblem(path.name, str(error))
            return
        for position, document in enumerate(documents):
            if document is None:
                continue
            name = f"{path.name}#{position}"
            try:
                yield name, parse_index(document)
            except ValueError as error:
                yield name, PolicyProblem(name, str(error))

    def _report(self, problems: list[PolicyProblem]) -> None:
        """Log each problem once, for as long as it lasts."""
        for problem in problems:
            if problem not in self._reported:
                _logger.warning(
                    "policy document refused, its last good form stays in force",
                    extra={"document": problem.document, "problem": problem.message},
                )
        self._reported = set(problems)
