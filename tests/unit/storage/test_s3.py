"""What the S3 adapter makes of S3's bad answers."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import aioboto3
import pytest

from services.storage.object_store import ObjectStore, StoreRefusedError, StoreUnavailableError
from services.storage.s3 import S3ObjectStore, S3Settings
from tests.doubles.scripted_s3_server import LOST, ScriptedS3Server, s3_error, torn

SESSION = aioboto3.Session("access-key", "secret-key", region_name="us-east-1")
SETTINGS = S3Settings(
    bucket="bucket",
    prefix="shared/place/",
    connect_timeout_seconds=0.2,
    read_timeout_seconds=0.2,
    request_timeout_seconds=2,
)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedS3Server]:
    async with ScriptedS3Server() as server:
        yield server


@pytest.fixture
async def store(server: ScriptedS3Server) -> AsyncIterator[S3ObjectStore]:
    settings = replace(SETTINGS, endpoint_url=server.url)
    async with S3ObjectStore(settings, session=SESSION) as store:
        yield store


CALLS: dict[str, Callable[[ObjectStore], Awaitable[object]]] = {
    "get": lambda store: store.get("a/b"),
    "put": lambda store: store.put("a/b", b"body"),
    "put if absent": lambda store: store.put("a/b", b"body", if_absent=True),
    "list": lambda store: store.list("a/"),
    "list children": lambda store: store.list_children("a/"),
    "delete": lambda store: store.delete(["a/b"]),
}
every_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


@every_call
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (429, "TooMany"),
        (400, "RequestTimeout"),
        (400, "IncompleteBody"),
    ],
)
async def test_trouble_is_unavailable_and_not_repeated_here(
    server: ScriptedS3Server,
    store: ObjectStore,
    call: Callable[[ObjectStore], Awaitable[object]],
    status: int,
    code: str,
) -> None:
    server.answers.append(s3_error(status, code))
    with pytest.raises(StoreUnavailableError, match=f"a/.* failed: {code}") as raised:
        await call(store)
    assert not isinstance(raised.value, StoreRefusedError)
    assert "secret" not in raised.value.message
    assert server.requests == 1


@every_call
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
        (400, "ExpiredToken"),
        (501, "NotImplemented"),
    ],
)
async def test_refusals_are_told_apart(
    server: ScriptedS3Server,
    store: ObjectStore,
    call: Callable[[ObjectStore], Awaitable[object]],
    status: int,
    code: str,
) -> None:
    server.answers.append(s3_error(status, code))
    with pytest.raises(StoreRefusedError, match=code):
        await call(store)


@every_call
async def test_silence_is_unavailable(
    server: ScriptedS3Server, store: ObjectStore, call: Callable[[ObjectStore], Awaitable[object]]
) -> None:
    with pytest.raises(StoreUnavailableError, match="ReadTimeoutError"):
        await call(store)
    assert server.requests == 1


@every_call
async def test_a_lost_answer_is_unavailable_and_not_repeated_here(
    server: ScriptedS3Server, store: ObjectStore, call: Callable[[ObjectStore], Awaitable[object]]
) -> None:
    # aiohttp would send it again by itself: a conditional put then meets its own object.
    server.answers += [LOST, s3_error(412, "PreconditionFailed")]
    with pytest.raises(StoreUnavailableError, match="failed: ConnectionClosedError"):
        await call(store)
    assert server.requests == 1


async def test_a_torn_body_is_unavailable(server: ScriptedS3Server, store: ObjectStore) -> None:
    server.answers.append(torn(bytes(100_000)))
    with pytest.raises(StoreUnavailableError):
        await store.get("a/b")


@pytest.mark.parametrize("code", ["NoSuchKey", "404"])
async def test_both_codes_of_a_missing_key_are_none(
    server: ScriptedS3Server, store: ObjectStore, code: str
) -> None:
    server.answers.append(s3_error(404, code))
    assert await store.get("a/b") is None


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
async def test_a_failed_condition_is_false(
    server: ScriptedS3Server, store: ObjectStore, code: str
) -> None:
    server.answers.append(s3_error(412, code))
    assert await store.put("a/b", b"", if_absent=True) is False


async def test_a_conflict_asks_to_try_again(server: ScriptedS3Server, store: ObjectStore) -> None:
    server.answers.append(s3_error(409, "ConditionalRequestConflict"))
    with pytest.raises(StoreUnavailableError) as raised:
        await store.put("a/b", b"", if_absent=True)
    assert not isinstance(raised.value, StoreRefusedError)


async def test_keys_that_were_not_deleted_are_an_error(
    server: ScriptedS3Server, store: ObjectStore
) -> None:
    server.ok(
        b"<DeleteResult><Error><Key>shared/place/a/c</Key><Code>InternalError</Code>"
        b"</Error></DeleteResult>"
    )
    with pytest.raises(StoreUnavailableError, match="all but 1 of 2 keys: a/c: InternalError"):
        await store.delete(["a/b", "a/c"])


async def test_keys_that_may_not_be_deleted_are_a_refusal(
    server: ScriptedS3Server, store: ObjectStore
) -> None:
    error = "<Error><Key>shared/place/a/{}</Key><Code>{}</Code></Error>"
    denied, failed = error.format("b", "AccessDenied"), error.format("c", "SlowDown")
    server.ok(f"<DeleteResult>{denied}{denied}</DeleteResult>".encode())
    with pytest.raises(StoreRefusedError, match="AccessDenied"):
        await store.delete(["a/b", "a/c"])
    server.ok(f"<DeleteResult>{denied}{failed}</DeleteResult>".encode())
    with pytest.raises(StoreUnavailableError) as raised:
        await store.delete(["a/b", "a/c"])
    assert not isinstance(raised.value, StoreRefusedError)


async def test_a_bucket_that_keeps_versions_is_told_once(
    server: ScriptedS3Server, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    plain = "<Deleted><Key>shared/place/a/b</Key></Deleted>"
    marked = "<Deleted><Key>shared/place/a/b</Key><DeleteMarker>true</DeleteMarker></Deleted>"
    for deleted, told in ((plain, 0), (plain + marked, 1), (marked, 1)):
        server.ok(f"<DeleteResult>{deleted}</DeleteResult>".encode())
        await store.delete(["a/b"])
        assert sum("keeps versions" in message for message in caplog.messages) == told


async def test_the_bucket_may_be_part_of_the_host_name(
    server: ScriptedS3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = asyncio.get_running_loop().getaddrinfo
    hosts: list[str] = []

    async def all_here(host: str, *arguments: Any, **more: Any) -> object:
        hosts.append(host)
        return await lookup("127.0.0.1", *arguments, **more)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", all_here)
    url = server.url.replace("127.0.0.1", "s3.example")
    settings = replace(SETTINGS, endpoint_url=url, addressing="virtual")
    server.ok(b"")
    async with S3ObjectStore(settings, session=SESSION) as store:
        await store.put("a", b"")
    assert server.headers["host"].startswith("bucket.s3.example:")
    assert server.target == "/shared/place/a"
    assert hosts == ["bucket.s3.example"]


async def test_a_deletion_has_the_checksum_that_older_servers_require(
    server: ScriptedS3Server, store: ObjectStore
) -> None:
    server.ok(b"<DeleteResult></DeleteResult>")
    await store.delete(["a/b", "a/é"])
    digest = hashlib.md5(server.body, usedforsecurity=False).digest()
    assert b64decode(server.headers["content-md5"]) == digest
    assert "content-md5" in server.headers["authorization"]


async def test_a_short_page_that_has_more_is_read_on(
    server: ScriptedS3Server, store: ObjectStore
) -> None:
    page = "<ListBucketResult><IsTruncated>{}</IsTruncated>{}</ListBucketResult>"
    item = "<Contents><Key>shared/place/{}</Key></Contents>"
    more = "<NextContinuationToken>on</NextContinuationToken>"
    server.ok(page.format("true", item.format("a") + more).encode())
    server.ok(page.format("true", more).encode())
    server.ok(page.format("false", item.format("b")).encode())
    assert await store.list("", limit=3) == ["a", "b"]
    assert server.requests == 3
    assert "continuation-token=on" in server.target


async def test_a_start_is_sent_only_where_it_skips_something(
    server: ScriptedS3Server, store: ObjectStore
) -> None:
    # Garage lists nothing when it is below the prefix.
    for prefix, start_after, sent in (
        ("", "", False),
        ("a/", "", False),
        ("b/", "a", False),
        ("b/", "b/", True),
        ("b/", "b/c", True),
        ("", "a", True),
    ):
        server.ok(b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        await store.list(prefix, start_after=start_after)
        assert ("start-after=" in server.target) is sent, (prefix, start_after)


async def test_a_prefix_that_no_key_has_is_not_asked_for(
    server: ScriptedS3Server, store: ObjectStore
) -> None:
    # MinIO refuses such prefixes.
    for prefix in ("/", "a//", "a//b"):
        assert await store.list(prefix) == []
    assert server.requests == 0


async def test_a_request_has_a_time_limit_as_a_whole(server: ScriptedS3Server) -> None:
    settings = replace(
        SETTINGS,
        endpoint_url=server.url,
        read_timeout_seconds=30,
        request_timeout_seconds=0.1,
        max_connections=1,
    )
    async with S3ObjectStore(settings, session=SESSION) as store:
        # The second waits for the only connection.
        answers = await asyncio.gather(*(store.get("a") for _ in range(2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailableError] * 2


async def test_nobody_listening_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = replace(SETTINGS, endpoint_url=f"http://127.0.0.1:{port}")
    async with S3ObjectStore(settings, session=SESSION) as store:
        with pytest.raises(StoreUnavailableError, match="EndpointConnectionError"):
            await store.get("a/b")


async def test_no_credentials_are_a_refusal(
    server: ScriptedS3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    settings = replace(SETTINGS, endpoint_url=server.url, region="us-east-1")
    async with S3ObjectStore(settings) as store:
        with pytest.raises(StoreRefusedError, match="NoCredentialsError"):
            await store.get("a/b")


async def test_an_endpoint_that_is_no_url_is_refused() -> None:
    store = S3ObjectStore(replace(SETTINGS, endpoint_url="nonsense"), session=SESSION)
    with pytest.raises(StoreRefusedError, match="endpoint"):
        await store.open()


async def test_a_store_that_is_not_open_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError, match="not open"):
        await S3ObjectStore(SETTINGS, session=SESSION).get("a/b")


def test_a_prefix_must_leave_room_for_keys() -> None:
    S3ObjectStore(replace(SETTINGS, prefix="p" * 123), session=SESSION)
    with pytest.raises(ValueError, match="123 bytes"):
        S3ObjectStore(replace(SETTINGS, prefix="p" * 124), session=SESSION)
