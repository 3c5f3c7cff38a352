"""The part of the Kubernetes API that `Index` resources need, on kubernetes_asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration, CustomObjectsApi
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config
from kubernetes_asyncio.watch import Watch

from services.core.errors import ErrorKind, LayerError
from services.indexes.index_resources import ResourceName

__all__ = [
    "ConflictError",
    "IndexApi",
    "KubernetesError",
    "Listing",
    "WatchEvent",
]

GROUP: Final = "hevlayer.com"
VERSION: Final = "v1"
PLURAL: Final = "indexes"
_PAGE: Final = 500
_REQUEST_SECONDS: Final = 15.0
_MERGE_PATCH: Final = "application/merge-patch+json"


class KubernetesError(LayerError):
    """The API server did not answer, or refused."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorKind.UNAVAILABLE, message)


class ConflictError(KubernetesError):
    """A resource is no longer at the version that it was to be changed at."""


@dataclass(frozen=True)
class Listing:
    """All resources, and the version that a watch may go on from."""

    documents: list[dict[str, Any]]
    version: str


@dataclass(frozen=True)
class WatchEvent:
    """A change. `kind` is ADDED, MODIFIED, DELETED, or BOOKMARK, which brings a version alone."""

    kind: str
    document: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.document["metadata"]["resourceVersion"])


class IndexApi:
    """Lists, watches and marks `Index` resources.

    Args:
        namespace: the Kubernetes namespace to look in; None: all.
        watch_seconds: how long the server keeps one watch open; a stream that is silent for
            longer is broken.
    """

    def __init__(
        self, client: ApiClient, *, namespace: str | None, watch_seconds: int = 290
    ) -> None:
        # Its stub knows neither JSON nor `_content_type`.
        self._objects: Any = CustomObjectsApi(client)
        self._namespace = namespace
        self._watch_seconds = watch_seconds

    @classmethod
    @asynccontextmanager
    async def open(cls, *, namespace: str | None, config: Path | None) -> AsyncIterator[IndexApi]:
        """An API with one connection pool, closed with the context.

        Args:
            config: a kubeconfig; None: the service account of the pod that this runs in.

        Raises:
            RuntimeError: there is no such configuration.
        """
        configuration = Configuration()
        try:
            if config is None:
                load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            else:
                await load_kube_config(str(config), client_configuration=configuration)
        except ConfigException as error:
            raise RuntimeError(f"no way to the Kubernetes API: {error}") from error
        async with ApiClient(configuration) as client:
            yield cls(client, namespace=namespace)

    async def list(self) -> Listing:
        """Every resource, in pages.

        Raises:
            KubernetesError: also when the list changed too much on the way (410 Gone).
        """
        documents: list[dict[str, Any]] = []
        proceed: dict[str, str] = {}
        while True:
            page = await self._request(limit=_PAGE, _request_timeout=_REQUEST_SECONDS, **proceed)
            documents += page["items"]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return Listing([_typed(d) for d in documents], str(metadata["resourceVersion"]))
            proceed = {"_continue": metadata["continue"]}

    async def watch(self, version: str) -> AsyncGenerator[WatchEvent, None]:
        """What changes after that version, until the server ends the watch as agreed.

        Raises:
            KubernetesError: the watch broke, or the server no longer knows what happened since
                that version (410 Gone). Only a list helps.
        """
        # Left without `timeout_seconds`, the library would go on by itself, without a pause and
        # from a version that has expired.
        watch = Watch(return_type="object")
        events = watch.stream(
            self._method(),
            *self._target(),
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=self._watch_seconds,
            _request_timeout=(_REQUEST_SECONDS, self._watch_seconds + _REQUEST_SECONDS),
        )
        async with watch:
            while True:
                try:
                    event = await anext(events)
                    found = WatchEvent(event["type"], _typed(event["raw_object"]))
                    found.version  # noqa: B018 - an event without a version is malformed
                except StopAsyncIteration:
                    return
                except Exception as error:
                    # The library raises what it stumbles over: its own errors, aiohttp's, and
                    # for what is no event at all, bare ones.
                    raise _translated(error) from error
                yield found

    async def put_status(
        self, name: ResourceName, status: Mapping[str, Any], *, version: str
    ) -> None:
        """Replace a resource's status, if it is still at that version.

        Raises:
            KubernetesError: ConflictError when it is not.
        """
        body = {"metadata": {"resourceVersion": version}, "status": status}
        try:
            await self._objects.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                name.namespace,
                PLURAL,
                name.name,
                body,
                _content_type=_MERGE_PATCH,
                _request_timeout=_REQUEST_SECONDS,
            )
        except (ApiException, aiohttp.ClientError, TimeoutError) as error:
            raise _translated(error) from error

    async def _request(self, **arguments: Any) -> Any:  # noqa: ANN401 - JSON
        try:
            return await self._method()(*self._target(), **arguments)
        except (ApiException, aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _translated(error) from error

    def _method(self) -> Any:  # noqa: ANN401 - the stub's type is wrong for it
        if self._namespace is None:
            return self._objects.list_cluster_custom_object
        return self._objects.list_namespaced_custom_object

    def _target(self) -> tuple[str, ...]:
        if self._namespace is None:
            return (GROUP, VERSION, PLURAL)
        return (GROUP, VERSION, self._namespace, PLURAL)


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    """The items of a list may come without what the list has said already."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Index", **document}


def _translated(error: Exception) -> KubernetesError:
    if isinstance(error, ApiException):
        text = f"the Kubernetes API answered {error.status}: {error.reason}"
        return ConflictError(text) if error.status == 409 else KubernetesError(text)
    return KubernetesError(f"the Kubernetes API failed: {type(error).__name__}: {error}")
