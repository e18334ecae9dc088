"""A client that sends what it likes: frames of gRPC are the caller's, HTTP/2 is `h2`'s."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events


@dataclass
class Answer:
    """What came back on one stream."""

    head: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    reset: int | None = None

    @property
    def status(self) -> int:
        """`grpc-status`, wherever it stands."""
        return int(self.trailers.get("grpc-status") or self.head["grpc-status"])


async def call(
    port: int,
    path: str,
    pieces: Sequence[bytes],
    *,
    ends: bool = True,
    headers: Sequence[tuple[str, str]] = (),
    content_type: str = "application/grpc",
    method: str = "POST",
) -> Answer:
    """One call on a connection of its own. With `ends` False the client never says that it has sent all."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection.initiate_connection()
    stream = connection.get_next_available_stream_id()
    connection.send_headers(
        stream,
        [
            (":method", method),
            (":scheme", "http"),
            (":authority", f"127.0.0.1:{port}"),
            (":path", path),
            ("te", "trailers"),
            ("content-type", content_type),
            *headers,
        ],
    )
    answer = Answer()
    waiting = list(pieces)
    try:
        async with asyncio.timeout(20):
            while True:
                while waiting and connection.local_flow_control_window(stream) >= min(len(waiting[0]), 16_384):
                    piece = waiting.pop(0)
                    connection.send_data(stream, piece[:16_384], end_stream=False)
                    if piece[16_384:]:
                        waiting.insert(0, piece[16_384:])
                    if not waiting and ends:
                        connection.end_stream(stream)
                writer.write(connection.data_to_send())
                data = await reader.read(65_536)
                if not data or _took(connection, connection.receive_data(data), answer):
                    return answer
    finally:
        writer.close()


def _took(connection: h2.connection.H2Connection, events: list[h2.events.Event], answer: Answer) -> bool:
    """True when the answer is over."""
    for event in events:
        match event:
            case h2.events.ResponseReceived():
                answer.head = dict(event.headers)  # type: ignore[arg-type]
            case h2.events.DataReceived():
                answer.data += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                answer.trailers = dict(event.headers)  # type: ignore[arg-type]
            case h2.events.StreamReset():
                answer.reset = int(event.error_code)
                return True
            case h2.events.StreamEnded():
                return True
    return False
