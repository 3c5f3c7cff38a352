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
from functools import cached_property

import aioboto3
from moto.server import ThreadedMotoServer

from services.storage.s3 import S3ObjectStore, S3Settings

__all__ = ["REAL_ENDPOINT", "S3Server", "running_s3"]

# Read on import, before a fixture takes these variables away from the tests.
REAL_ENDPOINT = os.environ.get("LAYER_TEST_S3_ENDPOINT")
_REAL_BUCKET = os.environ.get("LAYER_TEST_S3_BUCKET", "layer-test")
_ACCESS_KEY_ID = os.environ.get("AWS_ACCESS_KEY_ID", "test")
_SECRET_ACCESS_KEY = os.environ.get("AWS_SECRET_ACCESS_KEY", "test")
_REGION = os.environ.get("AWS_REGION", "us-east-1")


@dataclass(frozen=True)
class S3Server:
    """Where it is, and how to have a store of one's own in it."""

    endpoint_url: str
    bucket: str
    access_key_id: str
    secret_access_key: str
    region: str

    @cached_property
    def session(self) -> aioboto3.Session:
        """Shared, since a session reads its service descriptions anew: 0.3 s."""
        return aioboto3.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
        )

    def settings(self) -> S3Settings:
        return S3Settings(
            bucket=self.bucket, endpoint_url=self.endpoint_url, prefix=self.own_prefix()
        )

    def empty_store(self) -> S3ObjectStore:
        """A store under a prefix of its own; to be opened."""
        return S3ObjectStore(self.settings(), session=self.session)

    def own_prefix(self) -> str:
        """A folder that nobody else uses, with what keys of a shared bucket may have."""
        return f"layer-test/für {uuid.uuid4()}"

    def variables(self, prefix: str, endpoint_url: str | None = None) -> dict[str, str]:
        """What a service needs in its environment to keep its objects below `prefix` here, or at
        a proxy before it."""
        return {
            "LAYER_OBJECT_STORE": f"s3://{self.bucket}/{prefix}",
            "LAYER_S3_ENDPOINT_URL": endpoint_url or self.endpoint_url,
            "LAYER_S3_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
        }


@contextmanager
def running_s3() -> Iterator[S3Server]:
    if REAL_ENDPOINT:
        yield S3Server(REAL_ENDPOINT, _REAL_BUCKET, _ACCESS_KEY_ID, _SECRET_ACCESS_KEY, _REGION)
        return
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        server = S3Server(f"http://{host}:{port}", "layer-test", "test", "test", "us-east-1")
        # In a loop of its own thread: the first user has one running already.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _make_bucket(server)).result()
        yield server
    finally:
        moto.stop()


async def _make_bucket(server: S3Server) -> None:
    async with server.session.client("s3", endpoint_url=server.endpoint_url) as client:
        await client.create_bucket(Bucket=server.bucket)
