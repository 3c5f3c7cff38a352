"""A vector store double over HTTP, for services that run as processes of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from services.core.ids import Namespace
from services.upstream.vector_store import NamespaceNotFoundError, VectorStore

__all__ = ["serve_upstream"]


@asynccontextmanager
async def serve_upstream(store: VectorStore) -> AsyncIterator[str]:
    """Serve the store's queries and metadata as Turbopuffer does; the base URL."""

    async def query(request: web.Request) -> web.Response:
        answer = await store.query(_namespace(request), await request.json())
        return web.Response(body=answer, content_type="application/json")

    async def metadata(request: web.Request) -> web.Response:
        try:
            answer = await store.metadata(_namespace(request))
        except NamespaceNotFoundError as error:
            return web.json_response({"status": "error", "error": error.message}, status=404)
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v2/namespaces/{namespace}/query", query)
    app.router.add_get("/v1/namespaces/{namespace}/metadata", metadata)
    app.router.add_get("/v2/namespaces/{namespace}/metadata", metadata)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def _namespace(request: web.Request) -> Namespace:
    return Namespace(request.match_info["namespace"])
