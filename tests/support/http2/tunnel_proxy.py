"""An HTTP proxy of the smallest kind."""

import asyncio
import socket
from dataclasses import dataclass, field


@dataclass
class TunnelProxy:
    """A proxy of the smallest kind; it serves CONNECT and passes everything else on as it came."""

    port: int = 0
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    seen: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer: asyncio.StreamWriter | None = None
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            if not self.answer:
                await reader.read()
                return
            target = head.split(b" ")[1]
            if head.startswith(b"CONNECT"):
                writer.write(self.answer)
                if b" 200 " not in self.answer:
                    return
                first = b""
            else:
                target, first = target.split(b"/")[2], head
            host, _, port = target.decode().rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
            far_writer.write(first)
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            if far_writer is not None:
                far_writer.close()
                await asyncio.gather(far_writer.wait_closed(), return_exceptions=True)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
