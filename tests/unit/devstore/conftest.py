"""A store without its HTTP face, and with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from services.devstore.app import create_app
from services.devstore.database import Database
from services.devstore.query import Answer, query
from services.devstore.write import Written, write
from services.devstore.write_request import parse_write_request
from tests.doubles.fake_clock import FakeClock

NAMESPACE = "n"
READ_ONLY = "read-only-"


@dataclass(frozen=True)
class Store:
    """One namespace, unless another is named."""

    database: Database
    namespace: str = NAMESPACE

    def write(self, namespace: str = "", /, **body: Any) -> Written:
        return write(self.database, namespace or self.namespace, parse_write_request(body))

    def upsert(self, *rows: dict[str, Any], **body: Any) -> Written:
        return self.write(upsert_rows=list(rows), **body)

    def ask(self, namespace: str = "", /, **body: Any) -> Answer:
        return query(self.database, namespace or self.namespace, body)

    def rows(self, namespace: str = "", /, **body: Any) -> list[dict[str, Any]]:
        """By id, all attributes, unless asked otherwise."""
        if "exclude_attributes" not in body:
            body.setdefault("include_attributes", True)
        body.setdefault("rank_by", ["id", "asc"])
        if "top_k" not in body:
            body.setdefault("limit", 100)
        rows: list[dict[str, Any]] = self.ask(namespace, **body).body["rows"]
        return rows

    def ids(self, filters: Any = None, **body: Any) -> list[Any]:
        """Of the documents that match."""
        return [row["id"] for row in self.rows(filters=filters, **body)]

    def groups(self, *group_by: Any, **body: Any) -> list[dict[str, Any]]:
        body.setdefault("aggregate_by", {"n": ["Count"]})
        answer: list[dict[str, Any]] = self.ask(group_by=list(group_by), **body).body[
            "aggregation_groups"
        ]
        return answer


@pytest.fixture(scope="session")
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def opened(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> Iterator[Database]:
    """Opening one takes longer than most tests."""
    opened = Database(tmp_path_factory.mktemp("devstore"), clock)
    yield opened
    opened.close()


@pytest.fixture
def database(opened: Database) -> Iterator[Database]:
    """Empty but for the namespaces that a module's tests only read."""
    yield opened
    with opened.reading() as cursor:
        names = opened.names(cursor, "", "", 1000)
    for name in names:
        if not name.startswith(READ_ONLY):
            opened.drop(name)


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
async def client(database: Database, clock: FakeClock) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(database, clock)),
        base_url="http://devstore",
        headers={"authorization": "Bearer x", "accept-encoding": "identity"},
    ) as opened:
        yield opened
