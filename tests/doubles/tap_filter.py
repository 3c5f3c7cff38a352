"""What Envoy's tap keeps of bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.doubles.envoy_lua import LuaFilter, LuaStream

__all__ = ["Kept", "TapFilter"]


@dataclass(frozen=True)
class Kept:
    """What the access log would ship of a body, before it is encoded."""

    body: bytes
    truncated: bool


class TapFilter:
    """Runs the script over bodies."""

    def __init__(self) -> None:
        self._filter = LuaFilter("tap")

    def request(self, *chunks: bytes, headers: Mapping[str, str] | None = None) -> Sequence[Kept]:
        """What was kept of a request, each time that it was."""
        return _kept(self._filter.on_request, b"request", chunks, headers or {})

    def response(self, *chunks: bytes, headers: Mapping[str, str] | None = None) -> Sequence[Kept]:
        """What was kept of an answer, each time that it was."""
        return _kept(self._filter.on_response, b"response", chunks, headers or {})


def _kept(
    run: Callable[[LuaStream], object],
    name: bytes,
    chunks: Sequence[bytes],
    headers: Mapping[str, str],
) -> Sequence[Kept]:
    stream = LuaStream(chunks, {k.encode(): v.encode() for k, v in headers.items()})
    run(stream)
    assert {note[0] for note in stream.noted} == {b"layer.tap"}
    bodies = [value for _, key, value in stream.noted if key == name + b"_b64"]
    cuts = [value for _, key, value in stream.noted if key == name + b"_truncated"]
    return [Kept(body, cut) for body, cut in zip(bodies, cuts, strict=True)]
