"""Large requests, sent as fast as they are taken."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from functools import cache

import h2.connection
import h2.events

__all__ = ["BLOCK", "Upload", "crc_of"]

BLOCK = bytes(range(256)) * 256
_FRAME_BYTES = 16_384
_FLUSH_BYTES = 1024 * 1024
_CHUNK = b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK)


@cache
def crc_of(blocks: int) -> int:
    """Of that many blocks one after the other."""
    crc = 0
    for _ in range(blocks):
        crc = zlib.crc32(BLOCK, crc)
    return crc


@dataclass
class Upload:
    """A POST of a number of blocks; `sent` counts the bytes of body that were taken so far."""

    url: str
    path: str
    blocks: int
    sent: int = field(default=0, init=False)

    async def http1(self, *, chunked: bool) -> int:
        """The status of the answer."""
        reader, writer = await self._connect()
        length = f"content-length: {self.blocks * len(BLOCK)}"
        framing = "transfer-encoding: chunked" if chunked else length
        writer.write(f"POST {self.path} HTTP/1.1\r\nhost: layer\r\n{framing}\r\n\r\n".encode())
        for _ in range(self.blocks):
            writer.write(_CHUNK if chunked else BLOCK)
            await writer.drain()
            self.sent += len(BLOCK)
        if chunked:
            writer.write(b"0\r\n\r\n")
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status

    async def http2(self) -> int:
        """The status of the answer; the body has no length."""
        reader, writer = await self._connect()
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        head = [(":method", "POST"), (":path", self.path), (":scheme", "http")]
        connection.send_headers(1, [*head, (":authority", "layer")])
        status = 0
        frames = self.blocks * len(BLOCK) // _FRAME_BYTES
        while status == 0:
            if frames and connection.local_flow_control_window(1) >= _FRAME_BYTES:
                connection.send_data(1, BLOCK[:_FRAME_BYTES], end_stream=frames == 1)
                frames -= 1
                self.sent += _FRAME_BYTES
                if self.sent % _FLUSH_BYTES:
                    continue
            writer.write(connection.data_to_send())
            await writer.drain()
            if frames and connection.local_flow_control_window(1) >= _FRAME_BYTES:
                continue
            data = await reader.read(65_536)
            assert data, "the gateway hung up"
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[b":status"])
        writer.close()
        return status

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.url.removeprefix("http://").split(":")
        return await asyncio.open_connection(host, int(port))
