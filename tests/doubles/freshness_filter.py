"""Envoy's freshness filter without Envoy: its script in LuaJIT, which Envoy runs it in as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime

__all__ = ["FreshnessFilter", "Notice"]

_SCRIPT = Path(__file__).parents[2] / "envoy" / "lua" / "freshness.lua"

# What the script uses of Envoy's stream handle.
# (envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/lua_filter)
_HANDLE = """
return function(path, call, replace, now)
  local kept = {}
  return {
    headers = function()
      return {
        get = function() return path end,
        replace = function(_, name, value) replace(name, value) end,
      }
    end,
    streamInfo = function()
      return {
        dynamicMetadata = function()
          return {
            get = function(_, filter) return kept[filter] end,
            set = function(_, filter, key, value) kept[filter] = { [key] = value } end,
          }
        end,
      }
    end,
    httpCall = function(_, cluster, headers, body, timeout_ms)
      local ok = call(cluster, headers[":path"], body, timeout_ms)
      if ok then return { [":status"] = "200" }, "\\0\\0\\0\\0\\0" end
      return { [":status"] = "503" }, ""
    end,
    timestamp = function() return tostring(now()) end,
    logErr = function() end,
  }
end
"""


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
        self._lua = LuaRuntime(encoding="latin-1")
        self._lua.execute(_SCRIPT.read_text())
        self._new_handle = self._lua.execute(_HANDLE)

    def write(self, path: str) -> None:
        """A write and its answer."""
        handle = self._handle(path, {})
        self._lua.globals().envoy_on_request(handle)
        self._lua.globals().envoy_on_response(handle)

    def fetch(self, path: str) -> bool:
        """Fetch documents; whether DocumentService may use its cache."""
        changed: dict[str, str] = {}
        self._lua.globals().envoy_on_request(self._handle(path, changed))
        return "x-layer-cache-uncertain" not in changed

    def _handle(self, path: str, changed: dict[str, str]) -> Any:
        def call(cluster: str, method: str, body: str, timeout_ms: float) -> bool:
            assert cluster == "document"
            name = method.removeprefix("/layer.document.v2.DocumentService/")
            self.notices.append(Notice(name, body.encode("latin-1")[5:], timeout_ms))
            return self._answer(self.notices[-1])

        return self._new_handle(path, call, changed.__setitem__, lambda: self.now_ms)
