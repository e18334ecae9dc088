"""Scripted provider: a model provider on a real socket that follows a script and records its requests.

    async with ScriptedProvider("h2") as provider:
        provider.always(Turn(text=("Hello", " world")))
        provider.next(Turn(), fault=Fault(stall_after=1))          # the very next request; then as before
        client = AsyncOpenAI(base_url=provider.url + "/v1", api_key="x", http_client=...)
        ...
        assert provider.seen[0].cancelled

The path of a request decides the wire format of its answer. `"h2"` is HTTP/2 over TLS with HTTP/1.1 beside it by
ALPN, `"h2c"` HTTP/2 with prior knowledge, `"http/1.1"` plain, `"https/1.1"` TLS without HTTP/2.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Literal, Self

from three_mode.testing.batches import ScriptedBatches
from three_mode.testing.certificates import Certificates
from three_mode.testing.http1 import H1Server
from three_mode.testing.http2 import H2Server
from three_mode.testing.player import ServerConnection, Wire, play
from three_mode.testing.script import NO_FAULT, Answer, Behaviour, Fault, Header, Seen, Turn
from three_mode.testing.wire import render, render_models

BROKEN_HANDSHAKES = 0.05  # seconds
Speaks = Literal["h2", "h2c", "http/1.1", "https/1.1"]
Scripted = Turn | Answer | Callable[[Seen], Turn | Answer]


class ScriptedProvider:
    """A model provider on a real socket of this machine, for tests: it answers as its script says.

    `speaks` is "h2" (HTTP/2 over TLS, with HTTP/1.1 beside it), "h2c" (HTTP/2 with prior knowledge), "http/1.1" (plain)
    or "https/1.1" (TLS without HTTP/2). The path of a request decides the wire format of its answer: that of OpenAI,
    Anthropic, Gemini or Ollama. It lists `models`, where it is asked for its models and the script has a turn.
    """

    def __init__(
        self,
        speaks: Speaks = "h2",
        *,
        behaviour: Behaviour | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self.speaks: Speaks = speaks
        self.behaviour = behaviour or Behaviour()
        self.models: tuple[str, ...] = ("scripted",)  #: names of the models that it lists
        self.batches = ScriptedBatches(self._answer, lambda: self.url)  #: batches that it has, and what happens to them
        self.seen: list[Seen] = []  #: every request so far, oldest first
        self.connections: list[ServerConnection] = []  #: open connections
        self._transports: dict[ServerConnection, asyncio.Transport] = {}
        self.accepted = 0  #: connections whose handshake is done
        self._handshakes = 0  # begun
        self.complaints: list[str] = []  #: where a client broke the protocol
        self.port = 0  #: port on 127.0.0.1, chosen when it starts
        self._tls = speaks in ("h2", "https/1.1")
        self._certificates = certificates or (Certificates() if self._tls else None)
        self._always: tuple[Scripted, Fault] = (Turn(), NO_FAULT)
        self._next: deque[tuple[Scripted, Fault]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    # --- script ---

    def always(self, what: Scripted, *, fault: Fault = NO_FAULT) -> None:
        """Sets the answer to every request from now on."""
        self._always = (what, fault)

    def next(self, what: Scripted, *, fault: Fault = NO_FAULT, times: int = 1) -> None:
        """Queues the answer to the next request, or to the next `times` requests."""
        self._next.extend([(what, fault)] * times)

    # --- address ---

    @property
    def url(self) -> str:
        """URL of the provider, without a path: a client's base URL is `url + "/v1"`."""
        return f"{'https' if self._tls else 'http'}://localhost:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        """A TLS context for clients, which trusts this server."""
        if self._certificates is None:
            raise ValueError("this provider speaks without TLS")
        return self._certificates.client_context()

    # --- start and end ---

    async def __aenter__(self) -> Self:
        context = None
        if self._certificates is not None:
            context = self._certificates.server_context(["h2", "http/1.1"] if self.speaks == "h2" else ["http/1.1"])
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._begin_handshake, "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _begin_handshake(self) -> "ProtocolSelector":
        self._handshakes += 1
        return ProtocolSelector(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for connection in list(self.connections):
            connection.cut()
        try:
            await self.until(lambda provider: not provider._transports, within=0.5)
        except TimeoutError:
            for transport in list(self._transports.values()):
                transport.abort()
        await self._server.wait_closed()
        # Only asyncio knows handshakes that failed; they need a moment to end.
        await asyncio.sleep(BROKEN_HANDSHAKES if self._handshakes > self.accepted else 0)

    # --- recorded requests ---

    async def until(self, condition: Callable[["ScriptedProvider"], bool], within: float = 5.0) -> None:
        """Waits until the condition holds; TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while not condition(self):
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.02)
                except TimeoutError:
                    pass  # a condition may depend on values that set no event

    @property
    def cancelled_requests(self) -> list[Seen]:
        """Requests whose client left before the whole response had gone out."""
        return [seen for seen in self.seen if seen.cancelled]

    # --- for its connections ---

    def saw(
        self,
        *,
        method: str,
        path: str,
        headers: list[Header],
        http_version: str,
        connection: int,
        stream: int,
        body: bytes,
    ) -> Seen:
        """Notes a request. Its connection calls this."""
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        seen = Seen(
            number=len(self.seen),
            method=method,
            path=path,
            headers=fields,
            http_version=http_version,
            connection=connection,
            stream=stream,
            body=body,
        )
        self.seen.append(seen)
        self._changed.set()
        return seen

    def cancelled(self, seen: Seen, code: int | None) -> None:
        """Notes that the client left. Its connection calls this."""
        seen.cancelled = True
        seen.reset_code = code
        seen.cancelled_at = asyncio.get_running_loop().time()
        self._changed.set()

    def connected(self, connection: ServerConnection, transport: asyncio.Transport) -> None:
        """Notes a connection. The connection calls this."""
        self.connections.append(connection)
        self._transports[connection] = transport
        self._changed.set()

    def disconnected(self, connection: ServerConnection) -> None:
        """Notes the end of a connection. The connection calls this."""
        if connection in self.connections:
            self.connections.remove(connection)
        self._transports.pop(connection, None)
        self._changed.set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs work of a connection until the provider ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def play(self, seen: Seen, wire: Wire) -> None:
        """Answers a request as the script says. Its connection calls this."""
        what, fault = self._next[0] if self._next else self._always
        batches = None if isinstance(what, Answer) and self._next else self.batches.respond(seen)
        if batches is not None:
            await play(*batches, wire, seen)
            return
        models = render_models(self.models, seen) if isinstance(what, Turn) else None
        if models is not None:  # a turn is for a request that asks for one
            await play(models, self._always[1], wire, seen)
            return
        if self._next:
            self._next.popleft()
        await play(_answer_of(what, seen), fault, wire, seen)

    def _answer(self, seen: Seen) -> Answer:
        """Answers a request of a batch as the script says."""
        return _answer_of(self._next.popleft()[0] if self._next else self._always[0], seen)


def _answer_of(what: Scripted, seen: Seen) -> Answer:
    if callable(what):
        what = what(seen)
    return render(what, seen) if isinstance(what, Turn) else what


class ProtocolSelector(asyncio.Protocol):
    """Passes a connection to the HTTP version that its TLS handshake agreed on."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self._provider = provider

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        provider = self._provider
        provider.accepted += 1
        tls = transport.get_extra_info("ssl_object")
        http2 = provider.speaks == "h2c" or (tls is not None and tls.selected_alpn_protocol() == "h2")
        protocol = (H2Server if http2 else H1Server)(provider, provider.accepted)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
