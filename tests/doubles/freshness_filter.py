"""What Envoy tells DocumentService of writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.doubles.envoy_lua import LuaFilter, LuaStream

__all__ = ["FreshnessFilter", "Notice"]

_TAKEN = (b"200", bytes(5))
_REFUSED = (b"503", b"")


@dataclass(frozen=True)
class Notice:
    """A call to DocumentService."""

    method: str
    message: bytes
    timeout_ms: float


class FreshnessFilter:
    """Runs the script for one worker of Envoy.

    Args:
        answer: whether a call succeeds; it may let time pass by adding to `now_ms`.
    """

    def __init__(self, answer: Callable[[Notice], bool]) -> None:
        self.notices: list[Notice] = []
        self.now_ms = 1_790_000_000_000
        self._answer = answer
        self._filter = LuaFilter("freshness")

    def write(self, path: str) -> None:
        """A write and its answer."""
        request = self._stream(path)
        self._filter.on_request(request)
        answer = self._stream(path)
        answer.metadata = request.metadata
        self._filter.on_response(answer)

    def fetch(self, path: str) -> bool:
        """Fetch documents; whether DocumentService may use its cache."""
        return b"x-layer-cache-uncertain" not in self._filter.on_request(self._stream(path))

    def _stream(self, path: str) -> LuaStream:
        def called(
            cluster: bytes, path: bytes, body: bytes, timeout_ms: float
        ) -> tuple[bytes, bytes]:
            assert cluster == b"document"
            method = path.decode().removeprefix("/layer.document.v2.DocumentService/")
            self.notices.append(Notice(method, body[5:], timeout_ms))
            return _TAKEN if self._answer(self.notices[-1]) else _REFUSED

        headers = {b":path": path.encode()}
        return LuaStream(headers=headers, called=called, now_ms=lambda: self.now_ms)
