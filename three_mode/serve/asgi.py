"""One HTTP exchange over ASGI: its headers, its body within a limit, its answer. The only file that speaks ASGI's
dicts."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from three_mode.serve.access_log import SEEN, SeenRequest
from three_mode.serve.bodies import Bodies
from three_mode.serve.faults import EndpointFault, fault
from three_mode.serve.watching import Disconnected, EventWatch, Limited, Receive, Watched

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
Headers = Sequence[Header]

TRAILERS = "http.response.trailers"
MOST_THROWN_AWAY = 1 << 20
JSON = (b"content-type", b"application/json")
EVENTS = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class Refused(Exception):
    """The exchange ends with this fault."""

    def __init__(self, fault: EndpointFault) -> None:
        super().__init__(fault.status)
        self.fault = fault


class AsgiExchange:
    """A request and the answer to it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, watch: EventWatch) -> None:
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.scheme: str = scope.get("scheme", "http")  # as the client sees it
        client = scope.get("client")
        self.client: str = client[0] if client else ""
        self.query: bytes = scope.get("query_string", b"")
        # Of a name given twice, the first.
        self._headers: dict[bytes, bytes] = dict(scope["headers"][::-1])
        self._receive, self._send, self._watch = receive, send, watch
        self.status = 0  # of the answer, once it began
        self.model = ""  # that it names, once it is known
        self._extensions: Any = scope.get("extensions", ())  # of ASGI, that the server below has
        self.seen: SeenRequest | None = scope.get(SEEN)  # what the access log says of it, where there is one
        self.always: Headers = ()  # headers that go with the answer, whatever it is
        # The shape of a refusal in the protocol of the request; None: OpenAI's.
        self.refused_as: Callable[[EndpointFault], EndpointFault] | None = None

    def header(self, name: bytes) -> str | None:
        found = self._headers.get(name)
        return None if found is None else found.decode("latin-1")

    @property
    def sends_trailers(self) -> bool:
        """Whether the server below sends trailers, which gRPC needs."""
        return TRAILERS in self._extensions

    async def body(self, limit: int, within: float, bodies: Bodies) -> bytes:
        """The whole body. `TimeoutError` after `within` seconds; `CutShort` where others need its place in memory.

        A body that is too long is read on for a while and thrown away, so that a client that still sends reads why it
        was refused, instead of finding its connection reset."""
        declared = self._headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit + MOST_THROWN_AWAY:
            raise Refused(too_large(limit))
        with Limited(self._watch, within) as block:
            try:
                return await self._whole_body(limit, block, bodies)
            finally:
                bodies.release(block)

    async def _whole_body(self, limit: int, block: Limited, bodies: Bodies) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            size += len(piece)
            done = not message.get("more_body")
            if size > limit:
                pieces.clear()
                if done or size > limit + MOST_THROWN_AWAY:
                    raise Refused(too_large(limit))
                continue
            pieces.append(piece)
            if done:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            bodies.hold(block, len(piece))

    def while_connected(self) -> Watched:
        """Cancels the block when the client goes away, so that nothing works for nobody."""
        return Watched(self._watch, self._receive)

    async def answer(self, status: int, body: bytes, headers: Headers = (JSON,)) -> None:
        self.status = status
        length = (b"content-length", b"%d" % len(body))
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self.always, length]})
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, refused: EndpointFault) -> None:
        if self.refused_as is not None:
            refused = self.refused_as(refused)
        headers = [JSON]
        if refused.retry_after is not None:
            headers.append((b"retry-after", b"%d" % refused.retry_after))
        if refused.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.answer(refused.status, refused.body, headers)

    async def begin(self, headers: Headers) -> None:
        self.status = 200
        await self._send({"type": "http.response.start", "status": 200, "headers": [*headers, *self.always]})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": data})


def too_large(limit: int) -> EndpointFault:
    return fault(413, f"the body is over the limit of {limit} bytes", "body_too_large")
