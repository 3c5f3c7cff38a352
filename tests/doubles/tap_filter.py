"""Envoy's tap filter without Envoy: its script in LuaJIT, which Envoy runs it in as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime

__all__ = ["Kept", "TapFilter"]

_SCRIPT = Path(__file__).parents[2] / "envoy" / "lua" / "tap.lua"

# What the script uses of Envoy's stream handle.
# (envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/lua_filter)
_HANDLE = """
return function(chunks, headers, keep)
  local metadata = { set = function(_, filter, key, value) keep(filter, key, value) end }
  return {
    headers = function() return { get = function(_, name) return headers[name] end } end,
    streamInfo = function() return { dynamicMetadata = function() return metadata end } end,
    base64Escape = function(_, text) return text end,
    bodyChunks = function()
      local at = 0
      return function()
        at = at + 1
        local chunk = chunks[at]
        return chunk and {
          length = function() return #chunk end,
          getBytes = function(_, start, length) return chunk:sub(start + 1, start + length) end,
        }
      end
    end,
  }
end
"""


@dataclass(frozen=True)
class Kept:
    """What the access log would ship of a body, before it is encoded."""

    body: bytes
    truncated: bool


class TapFilter:
    """Runs the script over bodies."""

    def __init__(self) -> None:
        self._lua = LuaRuntime(encoding=None)
        self._lua.execute(_SCRIPT.read_bytes())
        self._new_handle = self._lua.execute(_HANDLE.encode())

    def request(self, *chunks: bytes, headers: Mapping[str, str] | None = None) -> Sequence[Kept]:
        """What was kept of a request, each time that it was."""
        return self._run("request", chunks, headers or {})

    def response(self, *chunks: bytes, headers: Mapping[str, str] | None = None) -> Sequence[Kept]:
        """What was kept of an answer, each time that it was."""
        return self._run("response", chunks, headers or {})

    def _run(
        self, name: str, chunks: Sequence[bytes], headers: Mapping[str, str]
    ) -> Sequence[Kept]:
        kept: list[Kept] = []
        body = b""

        def keep(namespace: bytes, key: bytes, value: Any) -> None:
            nonlocal body
            assert namespace == b"layer.tap"
            if key == f"{name}_b64".encode():
                body = value
            else:
                assert key == f"{name}_truncated".encode()
                kept.append(Kept(body, value))

        handle = self._new_handle(
            self._lua.table_from(chunks),
            self._lua.table_from({k.encode(): v.encode() for k, v in headers.items()}),
            keep,
        )
        self._lua.globals()[f"envoy_on_{name}".encode()](handle)
        return kept
