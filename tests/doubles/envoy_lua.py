"""Envoy's Lua filters without Envoy: their scripts in LuaJIT, which Envoy runs them in as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lupa.luajit21 import LuaRuntime

__all__ = ["LuaFilter", "LuaStream"]

_FOLDER = Path(__file__).parents[2] / "envoy" / "lua"

# What our scripts use of a stream handle.
# (envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/lua_filter)
_HANDLE = b"""
return function(chunks, headers, route, metadata, stream)
  local map = {
    get = function(_, name) return headers[name] end,
    replace = function(_, name, value) headers[name] = value end,
    remove = function(_, name) headers[name] = nil end,
  }
  local dynamic = {
    get = function(_, filter) return metadata[filter] end,
    set = function(_, filter, key, value)
      metadata[filter] = metadata[filter] or {}
      metadata[filter][key] = value
      stream.noted(filter, key, value)
    end,
  }
  local whole = table.concat(chunks)
  local body = {
    length = function() return #whole end,
    getBytes = function(_, from, count) return whole:sub(from + 1, from + count) end,
    setBytes = function(_, text) whole = text stream.replaced(text) end,
  }
  return {
    headers = function() return map end,
    trailers = function() return nil end,
    metadata = function() return { get = function(_, key) return route[key] end } end,
    streamInfo = function() return { dynamicMetadata = function() return dynamic end } end,
    body = function() return body end,
    bodyChunks = function()
      local at = 0
      return function()
        at = at + 1
        local chunk = chunks[at]
        return chunk and {
          length = function() return #chunk end,
          getBytes = function(_, from, count) return chunk:sub(from + 1, from + count) end,
        }
      end
    end,
    -- As it is: what is kept is easier to compare so.
    base64Escape = function(_, text) return text end,
    httpCall = function(_, cluster, asked, sent, timeout_ms)
      local status, answer = stream.called(cluster, asked[":path"], sent, timeout_ms)
      return { [":status"] = status }, answer
    end,
    timestamp = function() return tostring(stream.now_ms()) end,
    logErr = function() end,
  }
end
"""


@dataclass
class LuaStream:
    """One request or answer on its way through a filter. Texts are bytes, as in Lua.

    Args:
        chunks: the body, as it comes.
        route: metadata of the route under the filter's name.
        metadata: dynamic metadata by filter; an answer has that of its request.
        called: answers `httpCall(cluster, path, body, timeout_ms)` with a status and a body.
    """

    chunks: Sequence[bytes] = ()
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    route: Mapping[bytes, object] = field(default_factory=dict)
    metadata: Any = None
    called: Callable[[bytes, bytes, bytes, float], tuple[bytes, bytes]] | None = None
    now_ms: Callable[[], float] = lambda: 0.0

    noted: list[tuple[bytes, bytes, Any]] = field(default_factory=list)
    """Dynamic metadata, each time that it was set."""
    replaced: list[bytes] = field(default_factory=list)
    """Bodies that were put in place of the one that came."""


class LuaFilter:
    """A script, as one worker of Envoy runs it: its globals live as long as this."""

    def __init__(self, name: str) -> None:
        self._lua = LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._lua.execute((_FOLDER / f"{name}.lua").read_bytes())
        self._new_handle = self._lua.execute(_HANDLE)

    def on_request(self, stream: LuaStream) -> Mapping[bytes, bytes]:
        """Run it over a request; the headers afterwards."""
        return self._run(b"envoy_on_request", stream)

    def on_response(self, stream: LuaStream) -> Mapping[bytes, bytes]:
        """Run it over an answer; the headers afterwards."""
        return self._run(b"envoy_on_response", stream)

    def _run(self, function: bytes, stream: LuaStream) -> Mapping[bytes, bytes]:
        table = self._lua.table_from
        if stream.metadata is None:
            stream.metadata = table({})
        headers = table(stream.headers)
        callbacks = {
            b"noted": lambda *note: stream.noted.append(note),
            b"replaced": stream.replaced.append,
            b"called": stream.called,
            b"now_ms": stream.now_ms,
        }
        handle = self._new_handle(
            table(stream.chunks), headers, table(stream.route), stream.metadata, table(callbacks)
        )
        self._lua.globals()[function](handle)
        return dict(headers.items())
