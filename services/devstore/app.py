"""The HTTP face: Turbopuffer's routes, and `/dev/v1` for tests."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

import duckdb
import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import parse_namespace, random_id
from services.devstore.answers import query_statistics, timestamp, write_answer
from services.devstore.behaviour import Behaviour, Behaviours
from services.devstore.billing import ROW_BYTES
from services.devstore.database import Database, NamespaceState
from services.devstore.errors import DevstoreError
from services.devstore.operations import Operations
from services.devstore.query import query
from services.devstore.recall import recall
from services.devstore.schema import merge_schema
from services.devstore.write import write
from services.devstore.write_request import parse_write_request

__all__ = ["create_app"]

_T = TypeVar("_T")
_THREADS: Final = 8
_MAX_BODY_BYTES: Final = 512 * 1024 * 1024
_MAX_PAGE: Final = 1000
_REFUSED_VALUES: Final = (
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
)
"""What DuckDB makes of a value that it cannot take, such as a pattern that is no pattern to it."""


def create_app(database: Database, clock: Clock) -> Starlette:
    """The application over an open database."""
    face = _Face(database, clock)
    routes = [
        Route("/dev/v1/health", face.health),
        Route("/dev/v1/requests", face.requests, methods=["GET", "DELETE"]),
        Route(
            "/dev/v1/namespaces/{namespace}/behaviour", face.behaviour, methods=["PUT", "DELETE"]
        ),
    ]
    for version in ("/v1", "/v2"):
        one = f"{version}/namespaces/{{namespace}}"
        routes += [
            Route(f"{version}/namespaces", face.route("other", face.list), methods=["GET"]),
            Route(one, face.route("write", face.write), methods=["POST"]),
            Route(one, face.route("other", face.delete), methods=["DELETE"]),
            Route(f"{one}/query", face.route("query", face.query), methods=["POST"]),
            Route(f"{one}/explain_query", face.route("query", face.explain), methods=["POST"]),
            Route(
                f"{one}/metadata", face.route("metadata", face.metadata), methods=["GET", "PATCH"]
            ),
            Route(f"{one}/schema", face.route("other", face.schema), methods=["GET", "POST"]),
            Route(f"{one}/hint_cache_warm", face.route("other", face.warm), methods=["GET"]),
            Route(f"{one}/_debug/recall", face.route("query", face.recall), methods=["POST"]),
            Route(f"{one}/async", face.route("write", face.start_copy), methods=["POST"]),
            Route(
                f"{one}/operations/{{token}}", face.route("other", face.operation), methods=["GET"]
            ),
        ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=1024)],
        exception_handlers={
            DevstoreError: _failed,
            **dict.fromkeys(_REFUSED_VALUES, _refused),
            404: _no_route,
            405: _no_route,
        },
    )


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DevstoreError)
    return _json(error.body(), error.status)


async def _refused(_request: Request, error: Exception) -> Response:
    return _json({"status": "error", "error": f"invalid request: {error}"}, 400)


async def _no_route(request: Request, _error: Exception) -> Response:
    return _json({"status": "error", "error": f"no route {request.method} {request.url.path}"}, 404)


def _json(body: object, status: int = 200) -> Response:
    headers = {"server": "layer-devstore (development only)"}
    content = msgspec.json.encode(body)
    return Response(content, status, headers=headers, media_type="application/json")


_Handler = Callable[[Request, str], Awaitable[Response]]


class _Face:
    """Handlers; the database works on threads, so that a slow query holds no other request."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._behaviours = Behaviours(clock)
        self._operations = Operations(random_id)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="devstore")

    def route(self, kind: str, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler behind the checks that every Turbopuffer route has."""

        async def handle(request: Request) -> Response:
            if not request.headers.get("authorization", "").removeprefix("Bearer ").strip():
                raise DevstoreError(401, "missing API key")
            namespace = request.path_params.get("namespace", "")
            if namespace:
                _check_namespace(namespace)
            await self._behaviours.meet(namespace, kind)
            return await handler(request, namespace)

        return handle

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def write(self, request: Request, namespace: str) -> Response:
        wanted = parse_write_request(await _body(request))
        started = self._clock.monotonic()
        written = await self._run(lambda: write(self._database, namespace, wanted))
        seconds = self._clock.monotonic() - started
        return _json(write_answer(wanted, written, seconds))

    async def query(self, request: Request, namespace: str) -> Response:
        body = await _body(request)
        started = self._clock.monotonic()
        answer = await self._run(lambda: query(self._database, namespace, body))
        seconds = self._clock.monotonic() - started
        return _json({**answer.body, **query_statistics(answer, seconds)})

    async def explain(self, request: Request, namespace: str) -> Response:
        body = await _body(request)
        await self._run(lambda: query(self._database, namespace, body))
        return _json({"plan_text": "every row is read: this is the development store"})

    async def recall(self, request: Request, namespace: str) -> Response:
        body = await _body(request)
        return _json(await self._run(lambda: recall(self._database, namespace, body)))

    async def start_copy(self, request: Request, namespace: str) -> Response:
        wanted = parse_write_request(await _body(request))
        if wanted.source is None:
            raise DevstoreError.unreadable("missing field `copy_from_namespace`")
        time = timestamp(self._clock.now_ns())
        try:
            written = await self._run(lambda: write(self._database, namespace, wanted))
        except DevstoreError as error:
            token = self._operations.failed(namespace, time, error)
        else:
            answer = write_answer(wanted, written, 0)
            token = self._operations.succeeded(namespace, time, answer)
        return _json({"token": token}, 202)

    async def operation(self, request: Request, namespace: str) -> Response:
        return _json(self._operations.get(namespace, request.path_params["token"]))

    async def metadata(self, request: Request, namespace: str) -> Response:
        if request.method == "PATCH":
            body = await _body(request)
            await self._run(lambda: self._patch_metadata(namespace, body))
        state, count = await self._run(lambda: self._read(namespace))
        index: dict[str, Any] = {"status": "up-to-date"}
        if self._behaviours.is_updating(namespace):
            index = {
                "status": "updating",
                "unindexed_bytes": count * ROW_BYTES,
                "unindexed_rows": count,
            }
        answer: dict[str, Any] = {
            "schema": state.schema.describe(),
            "approx_row_count": count,
            "approx_logical_bytes": count * ROW_BYTES,
            "created_at": timestamp(state.created_ns),
            "updated_at": timestamp(state.updated_ns),
            "last_write_at": timestamp(state.written_ns),
            "encryption": {"sse": True} if _is_v1(request) else {"mode": "default"},
            "index": index,
        }
        return _json({**answer, "read_only": True} if state.read_only else answer)

    async def schema(self, request: Request, namespace: str) -> Response:
        if request.method == "POST":
            declared = await _body(request)
            await self._run(lambda: self._declare(namespace, declared))
        state, _ = await self._run(lambda: self._read(namespace))
        return _json(state.schema.describe_in_full())

    async def warm(self, _request: Request, namespace: str) -> Response:
        await self._run(lambda: self._read(namespace))
        return _json({"status": "ACCEPTED", "message": "cache warm hint accepted"}, 202)

    async def delete(self, _request: Request, namespace: str) -> Response:
        await self._run(lambda: self._database.drop(namespace))
        return _json({"status": "OK"})

    async def list(self, request: Request, _namespace: str) -> Response:
        parameters = request.query_params
        try:
            size = int(parameters.get("page_size", "100"))
        except ValueError:
            raise DevstoreError.bad_request("page_size must be an integer") from None
        if not 1 <= size <= _MAX_PAGE:
            raise DevstoreError.bad_request(f"page_size must be 1 to {_MAX_PAGE}")
        prefix, after = parameters.get("prefix", ""), parameters.get("cursor", "")
        names = await self._run(lambda: self._names(prefix, after, size + 1))
        answer: dict[str, Any] = {"namespaces": [{"id": name} for name in names[:size]]}
        if len(names) > size:
            answer["next_cursor"] = names[size - 1]
        return _json(answer)

    async def health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def requests(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._behaviours.requests.clear()
        return _json(dict(self._behaviours.requests))

    async def behaviour(self, request: Request) -> Response:
        namespace = request.path_params["namespace"]
        if request.method == "DELETE":
            self._behaviours.clear(namespace)
            return _json({"status": "OK"})
        try:
            wanted = msgspec.json.decode(await request.body(), type=Behaviour)
        except msgspec.DecodeError as error:
            raise DevstoreError.unreadable(str(error)) from None
        self._behaviours.set(namespace, wanted)
        return _json(wanted)

    def _read(self, namespace: str) -> tuple[NamespaceState, int]:
        """A namespace and how many rows it has, at one moment."""
        with self._database.reading() as cursor:
            state = self._database.get(cursor, namespace)
            return state, self._database.count(cursor, state)

    def _names(self, prefix: str, after: str, count: int) -> Sequence[str]:
        with self._database.reading() as cursor:
            return self._database.names(cursor, prefix, after, count)

    def _patch_metadata(self, namespace: str, body: Mapping[str, Any]) -> None:
        """Change `read_only`; pinning is accepted and means nothing here."""
        unknown = sorted(set(body) - {"read_only", "pinning"})
        if unknown:
            raise DevstoreError.unreadable(f"unknown field `{unknown[0]}`")
        with self._database.writing() as cursor:
            state = self._database.get(cursor, namespace)
            read_only = body.get("read_only", state.read_only)
            if not isinstance(read_only, bool):
                raise DevstoreError.unreadable("read_only: expected a boolean")
            self._database.save(cursor, replace(state, read_only=read_only), written=False)

    def _declare(self, namespace: str, declared: Mapping[str, Any]) -> None:
        with self._database.writing() as cursor:
            state = self._database.get(cursor, namespace)
            state = self._database.alter(cursor, state, merge_schema(state.schema, declared))
            self._database.save(cursor, state, written=False)


def _is_v1(request: Request) -> bool:
    return request.url.path.startswith("/v1/")


def _check_namespace(name: str) -> None:
    try:
        parse_namespace(name)
    except LayerError as error:
        raise DevstoreError.bad_request(error.message) from None


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request, gzip undone.

    Raises:
        DevstoreError: 400, malformed; 413; 422, no object.
    """
    data = await request.body()
    if request.headers.get("content-encoding", "").lower() == "gzip":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise DevstoreError.bad_request("the body is not gzip") from None
    if len(data) > _MAX_BODY_BYTES:
        raise DevstoreError(413, "the body is larger than 512 MB")
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise DevstoreError.unreadable(str(error)) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise DevstoreError.bad_request(f"malformed JSON: {error}") from None
