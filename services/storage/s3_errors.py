"""What S3's errors mean: every one leaves here as a store error, without endpoint or secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)

from services.storage.object_store import StoreRefusedError, StoreUnavailableError

__all__ = ["failed_deletion", "is_missing_key", "lost_condition", "translated"]

_FORBIDDEN_CODES = frozenset({"AccessDenied", "AllAccessDisabled", "InvalidTokenId"})
# An upload that got stuck or was torn on the way is a 400, and throttling is what servers like.
_TRY_AGAIN_CODES = frozenset(
    {"BadDigest", "IncompleteBody", "PriorRequestNotComplete", "RequestTimeout", "SlowDown"}
)
_TRY_AGAIN_STATUSES = frozenset({408, 409, 425, 429})


def is_missing_key(error: ClientError) -> bool:
    """S3 says `NoSuchKey`; some servers give the bare status. A missing *bucket* is neither."""
    return _code(error) in ("NoSuchKey", "404")


def lost_condition(error: ClientError) -> bool:
    """Whether a conditional write found that the object exists."""
    return _code(error) in ("PreconditionFailed", "412")


def failed_deletion(codes: Sequence[str]) -> type[StoreUnavailableError]:
    """What the codes of keys that were not deleted come to; S3 gives them no HTTP status."""
    return StoreRefusedError if _FORBIDDEN_CODES.issuperset(codes) else StoreUnavailableError


@asynccontextmanager
async def translated(what: str, timeout_seconds: float) -> AsyncIterator[None]:
    """Run S3 requests in a time limit; the messages name the operation and S3's code only.

    Raises:
        StoreRefusedError: S3 will not, however often it is asked.
        StoreUnavailableError: S3 did not answer, or asked to try again.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except ClientError as error:
        raise (StoreUnavailableError if _again(error) else StoreRefusedError)(
            f"s3 {what} failed: {_code(error)}"
        ) from error
    except (
        CredentialRetrievalError,
        NoCredentialsError,
        NoRegionError,
        ParamValidationError,
    ) as error:
        raise StoreRefusedError(f"s3 {what} failed: {type(error).__name__}") from error
    except (BotoCoreError, aiohttp.ClientError, OSError, TimeoutError) as error:
        raise StoreUnavailableError(f"s3 {what} failed: {type(error).__name__}") from error


def _again(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if status == 501:
        return False
    # (S3 may begin a good answer and end it with an error.)
    bad = status >= 500 or status in _TRY_AGAIN_STATUSES or status < 300
    return bad or _code(error) in _TRY_AGAIN_CODES


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
