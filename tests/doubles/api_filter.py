"""How Envoy's filter changes answers of our JSON routes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.doubles.envoy_lua import LuaFilter, LuaStream

__all__ = ["ApiFilter"]


class ApiFilter:
    """Runs the script over answers."""

    def __init__(self) -> None:
        self._filter = LuaFilter("api")

    def answer(self, body: bytes, route: Mapping[str, bool] | None = None) -> bytes:
        """The body that leaves when the transcoder has made that one."""
        request = LuaStream(headers={b":path": b"/"})
        self._filter.on_request(request)
        stream = LuaStream(
            [body],
            headers={b"content-type": b"application/json"},
            route={key.encode(): value for key, value in (route or {}).items()},
            metadata=request.metadata,
        )
        self._filter.on_response(stream)
        (left,) = stream.replaced
        return left
