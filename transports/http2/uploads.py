"""Request bodies on an HTTP/2 connection: as much as both windows and the socket take, and the rest when they open."""

from typing import Protocol

from transports.http2.engine import ClientEngine
from transports.http2.exchange import Exchange


class UploadConnection(Protocol):
    """What uploads need of the connection that sends them."""

    writable: bool

    def is_open(self, exchange: Exchange) -> bool:
        """Whether the exchange's stream still takes data."""

    def flush_soon(self) -> None:
        """Writes what has gathered, in the loop's next turn."""


class Uploads:
    """Which bodies wait, and for how much."""

    def __init__(self, connection: UploadConnection, engine: ClientEngine) -> None:
        self._connection = connection
        self._engine = engine
        self._blocked: dict[int, Exchange] = {}

    def begin(self, exchange: Exchange, body: bytes) -> None:
        """A body of bytes: usually it fits, and leaves with its head."""
        engine = self._engine
        window = engine.local_flow_control_window(exchange.stream_id)
        if len(body) <= min(window, engine.max_outbound_frame_size) and self._connection.writable:
            if body:
                engine.send_piece(exchange.stream_id, body, ends=True)
            exchange.on_sent()
        else:
            exchange.body_left = memoryview(body)
            self._pump(exchange)

    def send(self, exchange: Exchange, data: memoryview) -> int:
        """As much of it as can go now; how much that was."""
        sent = 0
        if self._connection.writable and self._connection.is_open(exchange):
            engine = self._engine
            window = engine.local_flow_control_window(exchange.stream_id)
            frame = engine.max_outbound_frame_size
            while sent < len(data) and window > 0:
                piece = data[sent : sent + min(window, frame)]
                engine.send_piece(exchange.stream_id, piece, ends=False)
                sent += len(piece)
                window -= len(piece)
            if sent:
                self._connection.flush_soon()
        if sent < len(data):
            self._blocked[exchange.stream_id] = exchange
        return sent

    def end(self, exchange: Exchange) -> None:
        """The async iterator is through."""
        if self._connection.is_open(exchange):
            exchange.uploader = None
            self._engine.end_stream(exchange.stream_id)
            exchange.on_sent()
            self._connection.flush_soon()

    def resume(self) -> None:
        """A window has opened, or the socket takes bytes again."""
        for exchange in list(self._blocked.values()):
            if not self._connection.is_open(exchange):
                self.discard(exchange)
            elif exchange.uploader is None:
                self._pump(exchange)
            else:
                self.discard(exchange)
                exchange.resume_upload()

    def discard(self, exchange: Exchange) -> None:
        self._blocked.pop(exchange.stream_id, None)

    def clear(self) -> None:
        self._blocked.clear()

    def _pump(self, exchange: Exchange) -> None:
        body = exchange.body_left
        assert body is not None
        left = body[self.send(exchange, body) :]
        if left:
            if len(left) < len(body) or exchange.phase != "write":
                exchange.on_sending()  # some progress: the time to write starts anew
            exchange.body_left = left
        else:
            exchange.body_left = None
            self.discard(exchange)
            self._engine.end_stream(exchange.stream_id)
            exchange.on_sent()
