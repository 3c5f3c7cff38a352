"""An S3 for tests: moto in this process, or a real one.

For a real one set LAYER_TEST_S3_ENDPOINT and LAYER_TEST_S3_BUCKET (which must exist), and the
usual AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import aioboto3
from moto.server import ThreadedMotoServer

from services.storage.s3 import S3ObjectStore, S3Settings

__all__ = ["S3Server", "running_s3"]

# Read on import, before a fixture takes these variables away from the tests.
_REAL_ENDPOINT = os.environ.get("LAYER_TEST_S3_ENDPOINT")
_REAL_BUCKET = os.environ.get("LAYER_TEST_S3_BUCKET", "layer-test")
_ACCESS_KEY_ID = os.environ.get("AWS_ACCESS_KEY_ID", "test")
_SECRET_ACCESS_KEY = os.environ.get("AWS_SECRET_ACCESS_KEY", "test")
_REGION = os.environ.get("AWS_REGION", "us-east-1")


@dataclass(frozen=True)
class S3Server:
    """Where it is, and how to have a store of one's own in it."""

    endpoint_url: str
    bucket: str
    session: aioboto3.Session
    """Shared, since a session reads its service descriptions anew: 0.3 s."""

    def settings(self) -> S3Settings:
        return S3Settings(
            bucket=self.bucket,
            endpoint_url=self.endpoint_url,
            prefix=f"layer-test/{uuid.uuid4()}",
        )

    def empty_store(self) -> S3ObjectStore:
        """A store under a prefix of its own; to be opened."""
        return S3ObjectStore(self.settings(), session=self.session)


@contextmanager
def running_s3() -> Iterator[S3Server]:
    if _REAL_ENDPOINT:
        session = _session(_ACCESS_KEY_ID, _SECRET_ACCESS_KEY, _REGION)
        yield S3Server(_REAL_ENDPOINT, _REAL_BUCKET, session)
        return
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        session = _session("test", "test", "us-east-1")
        server = S3Server(f"http://{host}:{port}", "layer-test", session)
        # In a loop of its own thread: the first user has one running already.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _make_bucket(server)).result()
        yield server
    finally:
        moto.stop()


def _session(access_key_id: str, secret_access_key: str, region: str) -> aioboto3.Session:
    return aioboto3.Session(
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name=region,
    )


async def _make_bucket(server: S3Server) -> None:
    async with server.session.client("s3", endpoint_url=server.endpoint_url) as client:
        await client.create_bucket(Bucket=server.bucket)
