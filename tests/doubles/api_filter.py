"""Envoy's filter of the JSON routes without Envoy: its script in LuaJIT, as Envoy runs it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime

__all__ = ["ApiFilter"]

_SCRIPT = Path(__file__).parents[2] / "envoy" / "lua" / "api.lua"

# What the script uses of Envoy's stream handle.
# (envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/lua_filter)
_HANDLE = """
return function(body, headers, route, changed)
  local map = {
    get = function(_, name) return headers[name] end,
    replace = function(_, name, value) headers[name] = value end,
    remove = function(_, name) headers[name] = nil end,
  }
  local buffer = {
    length = function() return #body end,
    getBytes = function(_, from, count) return body:sub(from + 1, from + count) end,
    setBytes = function(_, text) changed(text) end,
  }
  return {
    headers = function() return map end,
    body = function() return buffer end,
    trailers = function() return nil end,
    metadata = function() return { get = function(_, key) return route[key] end } end,
    streamInfo = function()
      return {
        dynamicMetadata = function() return { get = function() return { grpc = false } end } end,
      }
    end,
  }
end
"""


class ApiFilter:
    """Runs the script over answers."""

    def __init__(self) -> None:
        self._lua = LuaRuntime(encoding=None)
        self._lua.execute(_SCRIPT.read_bytes())
        self._new_handle = self._lua.execute(_HANDLE.encode())

    def answer(self, body: bytes, route: Mapping[str, bool] | None = None) -> bytes:
        """The body that leaves when the transcoder has made that one."""
        changed: list[bytes] = []
        headers: dict[Any, Any] = {b"content-type": b"application/json"}
        handle = self._new_handle(
            body,
            self._lua.table_from(headers),
            self._lua.table_from({k.encode(): v for k, v in (route or {}).items()}),
            changed.append,
        )
        self._lua.globals()[b"envoy_on_response"](handle)
        (left,) = changed
        return left
