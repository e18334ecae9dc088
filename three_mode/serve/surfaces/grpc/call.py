"""One call of gRPC over ASGI: the messages that come, those that go, and the trailers that say how it ended."""

import time
from collections.abc import AsyncGenerator, Sequence

from three_mode.errors import ThreeModeError
from three_mode.grpc_messages.errors import write_error
from three_mode.serve.asgi import Scope, Send
from three_mode.serve.bodies import Bodies
from three_mode.serve.faults import in_words
from three_mode.serve.watching import Disconnected, EventWatch, Limited, Receive, Watched
from transports.grpc import ENCODINGS, GrpcError, GrpcStatus, Unframer, frame, write_binary, write_message

Headers = Sequence[tuple[bytes, bytes]]
ACCEPTED = b",".join(ENCODINGS)
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": ((b"content-type", b"application/grpc"), (b"grpc-accept-encoding", ACCEPTED)),
    "trailers": True,
}
WELL = {"type": "http.response.trailers", "headers": ((b"grpc-status", b"0"),)}


class GrpcCall:
    """A call, from its head to its trailers."""

    __slots__ = (
        "_headers",
        "_may_pause",
        "_most",
        "_receive",
        "_send",
        "_watch",
        "deadline",
        "model",
        "path",
        "status",
        "within",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, watch: EventWatch, most: int) -> None:
        self.path: str = scope["path"]
        self.model = ""  # that it asked for, once it is known
        self.status: GrpcStatus | None = None  # once it has ended
        self.within = 0.0  # seconds that it has in all, from its caller or from the endpoint
        self.deadline = 0.0  # in monotonic time
        # Of a name given twice, the first.
        self._headers: dict[bytes, bytes] = dict(scope["headers"][::-1])
        server = scope.get("server")
        if server is not None and server[1] is None:
            self._headers.pop(b"host", None)  # a Unix socket: no name leads to it, and clients send its path
        self._may_pause = "http.request.open_ended" in scope.get("extensions", ())
        self._receive, self._send, self._watch, self._most = receive, send, watch, most

    def header(self, name: bytes) -> str | None:
        """A header, or metadata, as text."""
        found = self._headers.get(name)
        return None if found is None else found.decode("latin-1")

    def value(self, name: bytes) -> bytes | None:
        """The same as bytes."""
        return self._headers.get(name)

    def lasts(self, seconds: float) -> None:
        """The call has so much time from now on."""
        self.within, self.deadline = seconds, time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain of it; a little more than none where none do."""
        return max(1e-6, self.deadline - time.monotonic())

    def _unframer(self) -> Unframer:
        return Unframer(self._headers.get(b"grpc-encoding", b"identity"), self._most)

    async def whole(self, bodies: Bodies) -> bytes:
        """The one message of a call that has one. `TimeoutError` where it does not come in time, and `CutShort` where
        others need its place in memory."""
        unframer = self._unframer()
        found: list[bytes] = []
        with Limited(self._watch, self.within) as block:
            try:
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    piece = message.get("body", b"")
                    found += unframer.feed(piece)
                    if len(found) > 1:
                        raise GrpcError(GrpcStatus.INTERNAL, "this method takes one message, and more came")
                    if not message.get("more_body"):
                        break
                    bodies.hold(block, len(piece))
            finally:
                bodies.release(block)
        unframer.end()
        if not found:
            raise GrpcError(GrpcStatus.INTERNAL, "this method takes one message, and none came")
        return found[0]

    async def messages(self) -> AsyncGenerator[bytes, None]:
        """The messages of a call that has many, as they come, until the client has no more of them. `TimeoutError`
        where that takes longer than the call may."""
        unframer = self._unframer()
        if self._may_pause:
            await self._send({"type": "http.request.open_ended"})
        more = True
        while more:
            with Limited(self._watch, self.left()):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            for found in unframer.feed(message.get("body", b"")):
                yield found
            more = message.get("more_body", False)
        unframer.end()

    async def gone(self) -> None:
        """Returns when the client has gone; of use once all its messages have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def while_connected(self) -> Watched:
        """Cancels the block when the client goes away. Of no use for a call whose messages are being read."""
        return Watched(self._watch, self._receive)

    async def begin(self) -> None:
        """Sends the head of the answer with its first message, or with its end."""
        await self._send(START)

    async def write(self, message: bytes) -> None:
        """Sends a message; waits while the client takes none."""
        await self._send({"type": "http.response.body", "body": frame(message), "more_body": True})

    async def end(self) -> None:
        """The call went well, unless it has ended already."""
        if self.status is None:
            self.status = GrpcStatus.OK
            await self._send(WELL)

    async def fail(self, error: GrpcError | ThreeModeError) -> None:
        """The call ends with an error, unless it has ended already."""
        if self.status is not None:
            return
        ended = error if isinstance(error, GrpcError) else write_error(error, in_words(error))
        self.status = ended.status
        trailers = [(b"grpc-status", b"%d" % ended.status)]
        if ended.message:
            trailers.append((b"grpc-message", write_message(ended.message)))
        if ended.details:
            trailers.append((b"grpc-status-details-bin", write_binary(ended.details)))
        await self._send({"type": "http.response.trailers", "headers": trailers})
