"""A Kubernetes API server over HTTP: one kind of custom resource, lists, watches and statuses."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

__all__ = ["FakeKubernetesApi"]

_ROOT = "/apis/hevlayer.com/v1"
_SPAN = 500


class FakeKubernetesApi:
    """Keeps `Index` resources with versions and generations, as the real one does.

    A watch from a version before `oldest_version` is expired. Tests change resources with `apply`,
    `touch` and `delete`, and disturb watches with `drop_watches`, `end_watches`, `expire`,
    `send_raw` and `bookmark`; `down` makes every request a 503.
    """

    def __init__(self) -> None:
        self.url = ""
        self.resources: dict[tuple[str, str], dict[str, Any]] = {}
        self.version = 100
        self.oldest_version = 0
        self.down = False
        self.forbid_status = False
        self.omit_types_in_lists = True
        self.lists = 0
        self.watch_versions: list[int] = []
        self.status_requests = 0
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.before_patch: Callable[[], None] = lambda: None
        self._log: list[tuple[int, str, dict[str, Any]]] = []
        self._watches: set[_Watch] = set()

    def apply(self, document: dict[str, Any], namespace: str = "search") -> None:
        """Create or replace a resource's spec; its status stays."""
        name = document["metadata"]["name"]
        old = self.resources.get((namespace, name))
        document = copy.deepcopy(document)
        document["metadata"] |= {
            "namespace": namespace,
            "uid": old["metadata"]["uid"] if old else f"uid-{self.version}",
            "generation": old["metadata"]["generation"] + 1 if old else 1,
            "creationTimestamp": old["metadata"]["creationTimestamp"]
            if old
            else f"2026-01-01T00:{self.version % 3600 // 60:02d}:{self.version % 60:02d}Z",
        }
        if old and "status" in old:
            document["status"] = old["status"]
        self._store("MODIFIED" if old else "ADDED", document)

    def touch(self, name: str, namespace: str = "search") -> None:
        """Change a label, say: a new version of the same generation."""
        self._store("MODIFIED", copy.deepcopy(self.resources[(namespace, name)]))

    def delete(self, name: str, namespace: str = "search") -> None:
        document = self.resources.pop((namespace, name))
        self._send("DELETED", document)

    def condition(self, name: str, namespace: str = "search") -> dict[str, Any] | None:
        """The resource's `Accepted` condition."""
        conditions = self.resources[(namespace, name)].get("status", {}).get("conditions", [])
        return next((dict(c) for c in conditions if c["type"] == "Accepted"), None)

    @property
    def watching(self) -> int:
        return len(self._watches)

    def drop_watches(self) -> None:
        """Break the connections in the middle of the stream."""
        for watch in self._watches:
            watch.lines.put_nowait(_DROP)

    def end_watches(self) -> None:
        """End them as after their agreed time."""
        for watch in self._watches:
            watch.lines.put_nowait(_END)

    def expire(self) -> None:
        """Forget all history, and tell the open watches."""
        self.oldest_version = self.version
        for watch in self._watches:
            watch.lines.put_nowait(_line("ERROR", _status(410, "Expired", "too old")))

    def bookmark(self) -> None:
        """Other resources of the cluster have changed: a newer version."""
        self.version += 50
        document = {"metadata": {"resourceVersion": str(self.version)}}
        for watch in self._watches:
            if watch.wants_bookmarks:
                watch.lines.put_nowait(_line("BOOKMARK", document))

    def send_raw(self, line: bytes) -> None:
        for watch in self._watches:
            watch.lines.put_nowait(line)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get(f"{_ROOT}/indexes", self._get)
        app.router.add_get(_ROOT + "/namespaces/{namespace}/indexes", self._get)
        app.router.add_patch(
            _ROOT + "/namespaces/{namespace}/indexes/{name}/status", self._patch_status
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = "http://{}:{}".format(*runner.addresses[0][:2])
            yield
        finally:
            self.end_watches()
            await runner.cleanup()

    def _store(self, kind: str, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        self.resources[(metadata["namespace"], metadata["name"])] = document
        self._send(kind, document)

    def _send(self, kind: str, document: dict[str, Any]) -> None:
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        kept = copy.deepcopy(document)
        self._log.append((self.version, kind, kept))
        for watch in self._watches:
            if watch.namespace in (None, kept["metadata"]["namespace"]):
                watch.lines.put_nowait(_line(kind, kept))

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return _error(503, "ServiceUnavailable", "down")
        if request.query.get("watch", "").lower() == "true":
            return await self._watch(request)
        self.lists += 1
        namespace = request.match_info.get("namespace")
        found = [d for (n, _), d in sorted(self.resources.items()) if namespace in (None, n)]
        start = int(request.query.get("continue", "0"))
        end = start + min(int(request.query.get("limit", _SPAN)), _SPAN)
        items = copy.deepcopy(found[start:end])
        for item in items if self.omit_types_in_lists else ():
            item.pop("apiVersion"), item.pop("kind")
        metadata = {"resourceVersion": str(self.version)}
        if end < len(found):
            metadata["continue"] = str(end)
        return web.json_response({"kind": "IndexList", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        self.watch_versions.append(version)
        response = web.StreamResponse(headers={"content-type": "application/json"})
        if version < self.oldest_version:
            await response.prepare(request)
            await response.write(_line("ERROR", _status(410, "Expired", "too old")))
            return response
        watch = _Watch(
            request.match_info.get("namespace"),
            request.query.get("allowWatchBookmarks", "").lower() == "true",
        )
        for at, kind, document in self._log:
            if at > version and watch.namespace in (None, document["metadata"]["namespace"]):
                watch.lines.put_nowait(_line(kind, document))
        self._watches.add(watch)
        try:
            await response.prepare(request)
            while (line := await watch.lines.get()) is not _END:
                if line is _DROP:
                    assert request.transport is not None
                    request.transport.abort()
                    break
                await response.write(line)
        finally:
            self._watches.discard(watch)
        return response

    async def _patch_status(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/merge-patch+json"
        self.status_requests += 1
        patch = await request.json()
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        if self.down or self.forbid_status:
            return _error(403, "Forbidden", "no permission")
        self.before_patch()
        document = self.resources.get((namespace, name))
        if document is None:
            return _error(404, "NotFound", "no such index")
        if patch["metadata"]["resourceVersion"] != document["metadata"]["resourceVersion"]:
            return _error(409, "Conflict", "the object has been modified")
        self.patches.append((name, patch["status"]))
        changed = copy.deepcopy(document)
        # A merge patch replaces lists and merges objects.
        changed["status"] = {**changed.get("status", {}), **patch["status"]}
        self._store("MODIFIED", changed)
        return web.json_response(changed)


class _Watch:
    def __init__(self, namespace: str | None, wants_bookmarks: bool) -> None:
        self.namespace = namespace
        self.wants_bookmarks = wants_bookmarks
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()


_END = b"end"
_DROP = b"drop"


def _line(kind: str, document: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": document}).encode() + b"\n"


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "metadata": {}}


def _error(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(_status(code, reason, message), status=code)
