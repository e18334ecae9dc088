"""Request bodies on an HTTP/2 connection, sent as the two flow-control windows and the socket allow."""

from typing import Protocol

from transports.http2.engine import ClientEngine
from transports.http2.exchange import Exchange


class UploadConnection(Protocol):
    """The part of a connection that uploads use."""

    writable: bool

    def is_open(self, exchange: Exchange) -> bool:
        """Whether the exchange's stream still takes data."""

    def flush_soon(self) -> None:
        """Flushes at the end of the loop's turn."""


class Uploads:
    """Bodies that are being sent, and those that wait for a window or for the socket."""

    def __init__(self, connection: UploadConnection, engine: ClientEngine) -> None:
        self._connection = connection
        self._engine = engine
        self._blocked: dict[int, Exchange] = {}

    def begin(self, exchange: Exchange, body: bytes) -> None:
        """Sends a body of bytes. Usually it fits, and leaves with its head."""
        engine = self._engine
        window = engine.local_flow_control_window(exchange.stream_id)
        if len(body) <= min(window, engine.max_outbound_frame_size) and self._connection.writable:
            if body:
                engine.send_piece(exchange.stream_id, body, ends=True)
            exchange.on_sent()
        else:
            exchange.body_left = memoryview(body)
            self._send_rest(exchange)

    def send(self, exchange: Exchange, data: memoryview) -> int:
        """Sends as much as the windows and the socket allow; returns the number of bytes."""
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
        """Ends a body from an async iterator."""
        if self._connection.is_open(exchange):
            exchange.uploader = None
            self._engine.end_stream(exchange.stream_id)
            exchange.on_sent()
            self._connection.flush_soon()

    def resume(self) -> None:
        """Sends more, after a window has opened or the socket has become writable."""
        for exchange in list(self._blocked.values()):
            if not self._connection.is_open(exchange):
                self.discard(exchange)
            elif exchange.uploader is None:
                self._send_rest(exchange)
            else:
                self.discard(exchange)
                exchange.resume_upload()

    def discard(self, exchange: Exchange) -> None:
        """Drops the exchange from those that wait."""
        self._blocked.pop(exchange.stream_id, None)

    def clear(self) -> None:
        """Drops all that wait."""
        self._blocked.clear()

    def _send_rest(self, exchange: Exchange) -> None:
        body = exchange.body_left
        assert body is not None
        left = body[self.send(exchange, body) :]
        if left:
            if len(left) < len(body) or exchange.phase != "write":
                exchange.on_sending()  # progress: the write deadline starts anew
            exchange.body_left = left
        else:
            exchange.body_left = None
            self.discard(exchange)
            self._engine.end_stream(exchange.stream_id)
            exchange.on_sent()
