"""Policies from `Index` custom resources: listed once, then watched."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from services.core.clock import Clock
from services.indexes.index_resources import Acceptance, IndexResources, ResourceName
from services.indexes.kubernetes_api import ConflictError, IndexApi, KubernetesError, WatchEvent
from services.indexes.policy import CatalogView, PolicyProblem

__all__ = ["KubernetesIndexCatalog"]

_logger = logging.getLogger(__name__)

_FIRST_DELAY_SECONDS: Final = 1.0
_LONGEST_DELAY_SECONDS: Final = 60.0
_LASTING_SECONDS: Final = 10.0
"""A watch that lived this long was no failure, whatever ended it."""


class KubernetesIndexCatalog:
    """An `IndexCatalog` that `run` keeps current.

    Each resource gets a condition `Accepted` in its status, best effort and only when it changes.
    Every replica does so; the first one's patch makes the others' unnecessary.
    """

    def __init__(self, api: IndexApi, clock: Clock, random_source: random.Random) -> None:
        self._api = api
        self._clock = clock
        self._random = random_source
        self._resources = IndexResources()
        self._version: str | None = None
        self._was_listed = False
        self._listing = asyncio.Lock()
        self._reported: set[PolicyProblem] = set()
        self._marked: dict[ResourceName, Acceptance] = {}

    async def load(self) -> CatalogView:
        """What is known now; the first call lists.

        Raises:
            KubernetesError: there was never an answer yet.
        """
        if not self._was_listed:
            await self._list()
        return self._resources.view()

    async def run(self) -> None:
        """Watch for as long as the task runs. A watch that ends as agreed is resumed where it
        ended; after one that broke or expired, everything is listed again."""
        failures = 0
        while True:
            started = self._clock.monotonic()
            try:
                await self._list()
                await self._mark()
                await self._watch()
            except KubernetesError as error:
                self._version = None
                _logger.warning("index watch failed", extra={"cause": error.message})
            lasted = self._clock.monotonic() - started >= _LASTING_SECONDS
            failures = 0 if lasted else failures + 1
            await self._clock.sleep(self._delay_seconds(failures))

    async def _list(self) -> None:
        async with self._listing:
            if self._version is not None:
                return
            listing = await self._api.list()
            self._resources.replace(listing.documents)
            self._version = listing.version
            self._was_listed = True
            self._marked.clear()
            self._report()

    async def _watch(self) -> None:
        assert self._version is not None
        async with aclosing(self._api.watch(self._version)) as events:
            async for event in events:
                self._apply(event)
                self._version = event.version
                if event.kind != "BOOKMARK":
                    self._report()
                    await self._mark()

    def _apply(self, event: WatchEvent) -> None:
        if event.kind in ("ADDED", "MODIFIED"):
            self._resources.put(event.document)
        elif event.kind == "DELETED":
            self._resources.remove(event.document)

    def _report(self) -> None:
        """Log each problem once, for as long as it lasts."""
        problems = set(self._resources.view().problems)
        for problem in sorted(problems - self._reported, key=lambda each: each.document):
            _logger.warning(
                "index resource refused",
                extra={"document": problem.document, "problem": problem.message},
            )
        self._reported = problems

    async def _mark(self) -> None:
        """Bring the resources' conditions up to date.

        What a replica has to say it writes once between two lists: where two versions of this
        program differ, they must not answer each other for ever, and where it has no permission,
        it must not ask at each event.
        """
        acceptances = self._resources.acceptances()
        self._marked = {name: a for name, a in self._marked.items() if name in acceptances}
        for name, acceptance in acceptances.items():
            resource = self._resources.get(name)
            if resource is None or resource.says(acceptance):
                continue
            if self._marked.get(name) == acceptance:
                continue
            status = resource.status_with(acceptance, self._now())
            self._marked[name] = acceptance
            try:
                await self._api.put_status(name, status, version=resource.version)
            except ConflictError:
                # It has changed meanwhile: the event of that is on its way.
                del self._marked[name]
            except KubernetesError as error:
                _logger.info(
                    "index status not written",
                    extra={"document": str(name), "cause": error.message},
                )

    def _now(self) -> str:
        seconds = self._clock.now_ns() // 1_000_000_000
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _delay_seconds(self, failures: int) -> float:
        """Full jitter under a bound that doubles (M. Brooker, "Exponential Backoff And Jitter",
        AWS Architecture Blog, 2015)."""
        bound = _FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16)
        return self._random.uniform(0.0, min(bound, _LONGEST_DELAY_SECONDS))
