"""Turbopuffer through its official SDK, which brings authentication and retries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
import msgspec
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from turbopuffer import APIConnectionError, APIStatusError, AsyncTurbopuffer

from services.core.ids import Namespace
from services.upstream.vector_store import (
    ApiVersion,
    NamespaceNotFoundError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)

__all__ = ["TurbopufferSettings", "TurbopufferVectorStore"]


class TurbopufferSettings(BaseSettings):
    """Where Turbopuffer is; the SDK's own environment variables."""

    model_config = SettingsConfigDict(env_prefix="TURBOPUFFER_", frozen=True, extra="ignore")

    base_url: str = Field(
        "https://gcp-us-central1.turbopuffer.com",
        pattern="^https?://",
        description="Turbopuffer's address for the region.",
    )
    api_key: SecretStr = Field(description="The key that our own calls are made with.")
    timeout_seconds: float = Field(60.0, gt=0, description="Longest wait for one answer.")
    max_retries: int = Field(
        4, ge=0, le=10, description="Tries after the first on 408, 409, 429, 5xx and lost links."
    )


class TurbopufferVectorStore:
    """`VectorStore` on the official SDK; retries are the SDK's and nobody else's."""

    def __init__(self, client: AsyncTurbopuffer) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: TurbopufferSettings) -> AsyncIterator[TurbopufferVectorStore]:
        """A store with one connection pool, closed with the context."""
        client = AsyncTurbopuffer(
            base_url=settings.base_url,
            api_key=settings.api_key.get_secret_value(),
            timeout=settings.timeout_seconds,
            max_retries=settings.max_retries,
            telemetry=False,
        )
        async with client:
            yield cls(client)

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        return await self._call(
            namespace,
            "POST",
            f"/v2/namespaces/{namespace}/query",
            {**request, "consistency": {"level": "strong"}},
        )

    async def metadata(self, namespace: Namespace, version: ApiVersion = "v2") -> bytes:
        path = f"/{version}/namespaces/{namespace}/metadata"
        return await self._call(namespace, "GET", path, None)

    async def _call(
        self, namespace: Namespace, method: str, path: str, body: object | None
    ) -> bytes:
        """One call by the SDK's low-level methods: the bytes are decoded by whoever knows what
        they want of them."""
        try:
            if method == "GET":
                response = await self._client.get(path, cast_to=httpx2.Response)
            else:
                response = await self._client.post(path, cast_to=httpx2.Response, body=body)
        except APIStatusError as error:
            message = _message_of(error)
            if error.status_code == 404:
                raise NamespaceNotFoundError(namespace) from error
            if error.status_code in (400, 409, 413, 422):
                raise UpstreamRejectedError(error.status_code, message) from error
            raise UpstreamUnavailableError(
                f"the upstream answered {error.status_code}: {message}"
            ) from error
        except APIConnectionError as error:
            raise UpstreamUnavailableError("the upstream cannot be reached") from error
        return response.content


def _message_of(error: APIStatusError) -> str:
    """The sentence in Turbopuffer's error body, `{"status": "error", "error": ...}`."""
    try:
        body = msgspec.json.decode(error.response.content, type=dict[str, object])
    except msgspec.DecodeError:
        return error.response.reason_phrase
    return str(body.get("error", error.response.reason_phrase))
