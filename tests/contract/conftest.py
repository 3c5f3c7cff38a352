"""Servers that the contract suites share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.s3_server import S3Server, running_s3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 with a bucket."""
    with running_s3() as server:
        yield server
