"""A provider that answers chat completions with a constant over HTTP/1.1, as cheaply as Python can: `-m ... PORT`.

It reads no more of a request than where it ends, so that gateways before it are what is measured.
"""

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks._llm_app import ANSWER

REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


class Connection(asyncio.Protocol):
    """One connection of a gateway."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its class
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answers each request that is whole."""
        received = self._received + data if self._received else data
        while (end := received.find(b"\r\n\r\n")) >= 0:
            end += 4 + _length(received[:end].lower())
            if len(received) < end:
                break
            self._transport.write(REPLY)
            received = received[end:]
        self._received = received


def _length(head: bytes) -> int:
    _, name, rest = head.partition(b"\r\ncontent-length:")
    if not name and b"\r\ntransfer-encoding:" in head:
        raise ValueError("bodies in chunks are not read here")
    return int(rest.partition(b"\r\n")[0]) if name else 0


async def main(port: int) -> None:
    """Answers until it is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
