"""Captured bodies."""

from __future__ import annotations

import base64
import gzip
import zlib

import pytest

from services.searchlog.captured_body import MAX_BODY_BYTES, CapturedBody, read_captured_body

TEXT = b'{"rows": [' + b'{"id": 1},' * 1000 + b"{}]}"


def capture(data: bytes, encoding: str = "", *, truncated: bool = False) -> CapturedBody | None:
    return read_captured_body(
        base64.b64encode(data).decode(), truncated=truncated, encoding=encoding
    )


def bare_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_a_plain_body(encoding: str) -> None:
    assert capture(TEXT, encoding) == CapturedBody(TEXT, complete=True)
    assert capture(TEXT, encoding, truncated=True) == CapturedBody(TEXT, complete=False)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)),
        ("Deflate", bare_deflate(TEXT)),
    ],
)
def test_a_compressed_body_whole_and_cut(encoding: str, data: bytes) -> None:
    assert capture(data, encoding) == CapturedBody(TEXT, complete=True)
    cut = capture(data[: len(data) * 2 // 3], encoding, truncated=True)
    assert cut is not None
    assert not cut.complete
    assert 0 < len(cut.data) < len(TEXT)
    assert TEXT.startswith(cut.data)


def test_a_decompression_bomb_is_bounded() -> None:
    bomb = capture(gzip.compress(bytes(50 * MAX_BODY_BYTES)), "gzip")
    assert bomb is not None
    assert len(bomb.data) == MAX_BODY_BYTES
    assert not bomb.complete


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br"])
def test_an_encoding_that_is_not_read(encoding: str) -> None:
    assert capture(TEXT, encoding) is None


def test_what_is_not_what_it_says() -> None:
    assert capture(TEXT, "gzip") is None
    assert read_captured_body("*** no base64 ***", truncated=False, encoding="") is None
    assert read_captured_body("QUJ", truncated=False, encoding="") is None
