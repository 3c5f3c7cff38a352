"""Objects in an S3 bucket, or in anything that speaks S3."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.handlers import add_expect_header

from services.storage.keys import MAX_KEY_BYTES, validate_folder, validate_key, validate_listing
from services.storage.object_store import StoreRefusedError, StoreUnavailableError
from services.storage.s3_errors import failed_deletion, is_missing_key, lost_condition, translated

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

__all__ = ["S3ObjectStore", "S3Settings"]

_logger = logging.getLogger(__name__)

_KEYS_PER_DELETE = 1000
_MAX_PREFIX_BYTES = 1024 - MAX_KEY_BYTES


@dataclass(frozen=True)
class S3Settings:
    """Where the objects are; credentials come by the standard AWS chain and are not here."""

    bucket: str
    """`LAYER_S3_BUCKET`"""
    endpoint_url: str | None = None
    """`LAYER_S3_ENDPOINT_URL`: another S3 than Amazon's."""
    region: str | None = None
    """`LAYER_S3_REGION`; by default as the AWS chain says."""
    addressing: Literal["path", "virtual"] | None = None
    """`LAYER_S3_ADDRESSING`: buckets as part of the path or of the host name."""
    prefix: str = ""
    """`LAYER_S3_PREFIX`: a folder for all keys, so that a bucket can be shared."""
    connect_timeout_seconds: float = 3.0
    read_timeout_seconds: float = 20.0
    """The longest silence on a connection."""
    request_timeout_seconds: float = 60.0
    """The longest for a whole request, with its wait for a connection."""
    max_connections: int = 64


class S3ObjectStore:
    """An object store over one long-lived client. `open` it before use.

    botocore's own retries are off: put a `RetryingObjectStore` around this. `if_absent` is
    S3's conditional write (`If-None-Match: *`), which the endpoint must honour: Amazon's
    does since August 2024.
    """

    def __init__(self, settings: S3Settings, *, session: aioboto3.Session | None = None) -> None:
        self._settings = settings
        self._session = session or aioboto3.Session()
        self._bucket = settings.bucket
        folder = settings.prefix.strip("/")
        self._prefix = f"{folder}/" if folder else ""
        if len(self._prefix.encode()) > _MAX_PREFIX_BYTES:
            raise ValueError(f"s3 prefix must be at most {_MAX_PREFIX_BYTES - 1} bytes")
        self._resources = AsyncExitStack()
        self._opened_client: S3Client | None = None
        self._told_of_versions = False

    async def open(self) -> None:
        """Make the client; no request is sent.

        Raises:
            StoreRefusedError: the settings make no client.
        """
        if self._opened_client is None:
            client = self._session.client(
                "s3",
                endpoint_url=self._settings.endpoint_url,
                region_name=self._settings.region,
                config=_client_config(self._settings),
            )
            async with translated("open", self._settings.request_timeout_seconds):
                try:
                    opened = await self._resources.enter_async_context(client)
                except ValueError as error:
                    raise StoreRefusedError("s3 endpoint url is not valid") from error
            # Asking leave to send a body costs every put a round trip, and the wait for the
            # leave is under no read timeout. These bodies are small and sent again at will.
            opened.meta.events.unregister("before-call.s3", add_expect_header)
            opened.meta.events.register("before-sign.s3.DeleteObjects", _add_content_md5)
            self._opened_client = opened

    async def close(self) -> None:
        """Close the connections."""
        self._opened_client = None
        await self._resources.aclose()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, key: str) -> bytes | None:
        validate_key(key)
        async with self._request("get", key) as client:
            try:
                response = await client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as error:
                if is_missing_key(error):
                    return None
                raise
            async with response["Body"] as stream:
                return await stream.read()

    async def put(self, key: str, body: bytes, *, if_absent: bool = False) -> bool:
        validate_key(key)
        name = self._prefix + key
        async with self._request("put", key) as client:
            if not if_absent:
                await client.put_object(Bucket=self._bucket, Key=name, Body=body)
                return True
            try:
                await client.put_object(Bucket=self._bucket, Key=name, Body=body, IfNoneMatch="*")
            except ClientError as error:
                # Not so the 409 of a write at the same moment, which may yet fail itself:
                # S3 asks to try again, and that is how it leaves here.
                if lost_condition(error):
                    return False
                raise
            return True

    async def list(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> Sequence[str]:
        validate_listing(prefix, start_after, limit)
        if prefix.startswith("/") or "//" in prefix:
            # No key has an empty segment, and MinIO refuses to be asked for one.
            return []
        keys: list[str] = []
        # A start below the prefix skips nothing; Garage lists nothing then, so it is not sent.
        start: dict[str, Any] = {}
        if start_after and start_after >= prefix:
            start = {"StartAfter": self._prefix + start_after}
        async with self._request("list", prefix) as client:
            # S3 may answer fewer keys than asked for, even none, and say that there are more.
            while True:
                page = await client.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=self._prefix + prefix,
                    MaxKeys=limit - len(keys),
                    **start,
                )
                keys += [self._own(item["Key"]) for item in page.get("Contents", ())]
                if not page["IsTruncated"] or len(keys) >= limit:
                    return keys
                start = {"ContinuationToken": page["NextContinuationToken"]}

    async def list_children(self, prefix: str) -> Sequence[str]:
        validate_folder(prefix)
        found: set[str] = set()
        async with self._request("list", prefix) as client:
            pages = client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix, Delimiter="/"
            )
            async for page in pages:
                found.update(self._own(item["Key"]) for item in page.get("Contents", ()))
                found.update(self._own(item["Prefix"]) for item in page.get("CommonPrefixes", ()))
        return sorted({name[len(prefix) :].removesuffix("/") for name in found})

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            validate_key(key)
        for start in range(0, len(keys), _KEYS_PER_DELETE):
            await self._delete_batch(keys[start : start + _KEYS_PER_DELETE])

    async def _delete_batch(self, keys: Sequence[str]) -> None:
        async with self._request("delete", keys[0]) as client:
            answer = await client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": self._prefix + key} for key in keys]},
            )
        if any(each.get("DeleteMarker") for each in answer.get("Deleted", ())):
            self._tell_of_versions()
        failed = answer.get("Errors", ())
        if failed:
            codes = [each.get("Code", "") for each in failed]
            raise failed_deletion(codes)(
                f"s3 deleted all but {len(failed)} of {len(keys)} keys: "
                f"{self._own(failed[0].get('Key', ''))}: {codes[0]}"
            )

    def _tell_of_versions(self) -> None:
        """Once. An erasure that leaves the old versions has erased nothing."""
        if not self._told_of_versions:
            _logger.warning(
                "the bucket keeps versions: what is deleted stays readable as an old version "
                "until a lifecycle rule (NoncurrentVersionExpiration) removes it"
            )
        self._told_of_versions = True

    @asynccontextmanager
    async def _request(self, operation: str, key: str) -> AsyncIterator[S3Client]:
        if self._opened_client is None:
            raise StoreUnavailableError("s3 store is not open")
        async with translated(f"{operation} {key}", self._settings.request_timeout_seconds):
            yield self._opened_client

    def _own(self, stored_key: str) -> str:
        return stored_key.removeprefix(self._prefix)


def _add_content_md5(request: AWSRequest, **_: object) -> None:
    """S3 asks for it of this one request, and older servers refuse it without (MinIO:
    MissingContentMD5); botocore sends a CRC32 alone since 1.36."""
    body: bytes = request.body  # type: ignore[assignment]  # its stub says str
    digest = hashlib.md5(body, usedforsecurity=False).digest()
    request.headers["Content-MD5"] = base64.b64encode(digest).decode()


class _OneTrySession(AIOHTTPSession):
    """aiohttp sends a GET, PUT or DELETE again by itself when the connection breaks before the
    answer. A conditional put that had taken effect then meets its own object, and nobody above
    learns that there was an error."""

    async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        # (Its stub leaves this method out.)
        session: aiohttp.ClientSession = await super()._get_session(proxy_url)  # type: ignore[misc]
        session._retry_connection = False  # noqa: SLF001 - what aiohttp's own test client sets
        return session


def _client_config(settings: S3Settings) -> AioConfig:
    return AioConfig(
        connect_timeout=settings.connect_timeout_seconds,
        read_timeout=settings.read_timeout_seconds,
        max_pool_connections=settings.max_connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        http_session_cls=_OneTrySession,
        # Buckets as host names need DNS, which other servers than Amazon's seldom have.
        s3={
            "addressing_style": settings.addressing or ("path" if settings.endpoint_url else "auto")
        },
        # Newer checksum headers are refused by older servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
