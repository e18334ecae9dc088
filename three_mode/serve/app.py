"""Routes a request to its handler, within the limits; an ASGI application."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from three_mode.errors import DeadlineExceeded, MissingExtra, ThreeModeError
from three_mode.serve import cors, guard, wire_in, wire_out
from three_mode.serve.asgi import AsgiExchange, Refused, Scope, Send
from three_mode.serve.backend import AgentVerbs, Backend
from three_mode.serve.endpoint import EndpointState, going_down, overloaded
from three_mode.serve.events import EventHub
from three_mode.serve.faults import fault, from_error
from three_mode.serve.lifespan import OpenBackend, run_lifespan
from three_mode.serve.model_rule import unknown_model
from three_mode.serve.options import ServeOptions
from three_mode.serve.surfaces import Surface, names_grpc, refuse_grpc, speaks_grpc
from three_mode.serve.surfaces.anthropic_messages.surface import COUNT, MESSAGES, MessagesSurface
from three_mode.serve.watching import CutShort, Disconnected, Receive
from three_mode.serve.websocket import watch_events

if TYPE_CHECKING:
    from three_mode.serve.surfaces.openai_responses import ResponseQuestion, ResponsesSurface

Asked = TypeVar("Asked")
log = logging.getLogger("three_mode.serve")
WITHIN = b"three-mode-within"
MODELS = "/v1/models/"
READ_BESIDE = 1 << 17  # bytes of a body that take milliseconds to read
# Answers a request whose body is whole, within so many seconds, and says which model it named.
Answering = Callable[[AsgiExchange, bytes, float], Awaitable[str]]


class App:
    """The endpoint. `drain()` lets what runs end and refuses what is new.

    `backend` is what it hands out; or a function that opens it when the server starts, as an async context manager:
    each worker of a server with several has its own. `agents` are the verbs of a bus, for `AgentService` of gRPC.
    """

    def __init__(
        self,
        backend: Backend | OpenBackend,
        options: ServeOptions | None = None,
        events: EventHub | None = None,
        agents: AgentVerbs | None = None,
    ) -> None:
        self.options = options or ServeOptions()
        self.events = EventHub(self.options.event_buffer) if events is None else events  # an empty one is falsy
        self.endpoint = EndpointState(self.options, self.events, agents)
        self.metrics = self.endpoint.metrics
        self._open = backend if callable(backend) else None
        if not callable(backend):
            self.endpoint.use(backend)
        self._grpc: Surface | None = None
        messages = MessagesSurface(self.endpoint, self._read)
        self._started = int(time.time())
        self._routes: dict[str, tuple[str, Callable[[AsgiExchange], Awaitable[str]]]] = {
            "/v1/chat/completions": ("POST", partial(self._held, self._answer_chat)),
            "/v1/responses": ("POST", partial(self._held, self._answer_response)),
            MESSAGES: ("POST", partial(self._held, messages.create)),
            COUNT: ("POST", partial(self._held, messages.count)),
            "/v1/embeddings": ("POST", partial(self._held, self._answer_embeddings)),
            "/v1/models": ("GET", self._models),
            "/healthz": ("GET", self._health),
            "/metrics": ("GET", self._tell_metrics),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A coroutine function, by which other servers know an application of ASGI 3."""
        if scope["type"] == "http":
            if speaks_grpc(scope):
                await self._answer_grpc(scope, receive, send)
            else:
                await self._answer(AsgiExchange(scope, receive, send, self.endpoint.watch))
        elif scope["type"] == "websocket":
            await watch_events(scope, receive, send, self.events, self.options)
        else:
            await run_lifespan(receive, send, self._open, self.endpoint.use)

    @property
    def draining(self) -> bool:
        """Whether what is new is refused."""
        return self.endpoint.draining

    async def drain(self) -> bool:
        """True when all that ran has ended within the time it had."""
        return await self.endpoint.drain()

    def cut_off(self) -> None:
        """Ends what still runs: the server below waits for it, however long that takes."""
        self.endpoint.cut_off()

    async def _answer_grpc(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Calls of gRPC, on the same port. What they need is imported with the first of them."""
        if self._grpc is None:
            from three_mode.serve.surfaces.grpc import grpc_surface

            try:
                self._grpc = grpc_surface(self.endpoint)
            except MissingExtra as missing:
                await refuse_grpc(send, str(missing))
                return
        if "http.response.trailers" in scope.get("extensions", ()):
            await self._grpc(scope, receive, send)
        else:
            await refuse_grpc(send, "the server below this endpoint sends no trailers; `three-mode serve` does")

    async def _answer(self, exchange: AsgiExchange) -> None:
        started = time.perf_counter()
        model = ""
        task = self.endpoint.begin()
        MessagesSurface.shape_refusals(exchange)
        if self.options.allowed_origins:
            exchange.always = cors.named(self.options, exchange.header(b"origin"))
        try:
            model = await self._routed(exchange)
        except Refused as refused:
            await exchange.refuse(refused.fault)
        except ThreeModeError as error:
            await exchange.refuse(from_error(error))
        except Disconnected:
            exchange.status = 499
        except asyncio.CancelledError:
            if not self.endpoint.cut or exchange.status:
                raise  # an answer that had begun: the server closes the stream, which the client sees
            await exchange.refuse(going_down())
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("request %s failed", number)
            if exchange.status == 0:
                await exchange.refuse(fault(500, f"an unforeseen error; it is logged as {number}", "internal_error"))
            else:
                raise  # the answer had begun: the server closes the stream, which the client sees
        finally:
            self.endpoint.end(task)
            route = exchange.path if exchange.path in self._routes else "other"
            self.metrics.finished(route, model, exchange.status, time.perf_counter() - started)

    async def _routed(self, exchange: AsgiExchange) -> str:
        """Answers, and says which model did."""
        if exchange.method == "OPTIONS" and exchange.always:
            await exchange.answer(200, b"", cors.preflight(exchange.header))
            return ""
        route = self._routes.get(exchange.path)
        if exchange.path != "/healthz":
            refused = guard.refusal(self.options, exchange.header)
            if refused is not None:
                raise Refused(refused)
        if route is None and names_grpc(exchange.path):
            raise Refused(fault(415, "this path takes calls of gRPC: content-type application/grpc", "not_grpc"))
        if route is None and (exchange.path + "/").startswith("/v1/conversations/"):
            return await self._conversations(exchange)
        if route is None and exchange.path.startswith("/v1/responses/"):
            return await self._known_response(exchange)
        if route is None and exchange.method == "GET" and exchange.path.startswith(MODELS):
            return await self._model(exchange)
        if route is None:
            known = ", ".join(self._routes)
            raise Refused(fault(404, f"no such path; there are {known} and the WebSocket /events", "no_such_path"))
        method, handler = route
        if exchange.method != method:
            raise Refused(fault(405, f"{exchange.path} takes {method}", "method_not_allowed"))
        return await handler(exchange)

    def _within(self, exchange: AsgiExchange) -> float:
        """The caller's deadline, or ours."""
        given = exchange.header(WITHIN)
        if given is None:
            return self.options.default_within
        try:
            seconds = float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise Refused(fault(400, f"{WITHIN.decode()} is a number of seconds above 0", "bad_deadline"))
        return min(seconds, self.options.longest_within)

    async def _body(self, exchange: AsgiExchange, within: float) -> bytes:
        """A client that stops half-way holds no place, and its memory no longer than it may wait for the answer."""
        try:
            body = await exchange.body(self.options.max_body, within, self.endpoint.bodies)
        except TimeoutError:
            raise DeadlineExceeded(f"the body did not come whole within {within:g} s") from None
        except CutShort:
            raise Refused(overloaded("too many bytes of requests are being read")) from None
        self.endpoint.admit(len(body))
        return body

    async def _read(self, read: Callable[[bytes, float, int], Asked], body: bytes, within: float) -> Asked:
        """A large body is read beside the loop, so that others are answered meanwhile."""
        if len(body) < READ_BESIDE:
            return read(body, within, self.options.max_messages)
        return await asyncio.to_thread(read, body, within, self.options.max_messages)

    async def _held(self, answer: Answering, exchange: AsgiExchange) -> str:
        """Answers a request whose body is whole, which has a place meanwhile."""
        self.endpoint.admit()
        within = self._within(exchange)
        body = await self._body(exchange, within)
        self.endpoint.hold(len(body))
        try:
            return await answer(exchange, body, within)
        finally:
            self.endpoint.release(len(body))

    async def _answer_chat(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked = await self._read(wire_in.read_chat, body, within)
        chat = self.endpoint.chat
        assert chat is not None
        await (chat.stream if asked.stream else chat.complete)(exchange, asked)
        return asked.request.model or ""

    async def _answer_response(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        responses, read = self._responses
        return await responses.create(exchange, await self._read(read, body, within))

    async def _known_response(self, exchange: AsgiExchange) -> str:
        """A response that is there: retrieved, cancelled, deleted."""
        self.endpoint.admit()
        responses, _ = self._responses
        await responses.answer_known(exchange, self._within(exchange))
        return ""

    @cached_property
    def _responses(self) -> "tuple[ResponsesSurface, Callable[[bytes, float, int], ResponseQuestion]]":
        """OpenAI's responses. What they need is imported with the first of them."""
        from three_mode.serve.surfaces.openai_responses import ResponsesSurface, read_response

        return ResponsesSurface(self.endpoint), read_response

    async def _answer_embeddings(self, exchange: AsgiExchange, body: bytes, within: float) -> str:
        asked, as_base64 = wire_in.read_embeddings(body, within)
        model = asked.model or ""
        with exchange.while_connected():
            embedded = await self.endpoint.embed(asked)
        self.metrics.used(model, embedded.usage)
        await exchange.answer(200, wire_out.embeddings(embedded, as_base64))
        return model

    async def _conversations(self, exchange: AsgiExchange) -> str:
        """Conversations that are kept, where the backend keeps some."""
        from three_mode.serve.conversations import ConversationBackend, answer

        self.endpoint.admit()
        if not isinstance(self.endpoint.backend, ConversationBackend):
            raise Refused(fault(404, "this endpoint keeps no conversations (--talks FILE)", "no_such_path"))
        within = self._within(exchange)
        body = await self._body(exchange, within) if exchange.method == "POST" else b""
        try:
            async with asyncio.timeout(within):
                found = await answer(self.endpoint.backend, exchange.method, exchange.path, exchange.query, body)
        except LookupError:
            raise Refused(fault(404, "no such path or method of conversations", "no_such_path")) from None
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise DeadlineExceeded(f"the conversation was not free within {within:g} s") from None
        await exchange.answer(200, msgspec.json.encode(found))
        return ""

    async def _models(self, exchange: AsgiExchange) -> str:
        await exchange.answer(200, wire_out.models(await self.endpoint.models(), self._started))
        return ""

    async def _model(self, exchange: AsgiExchange) -> str:
        """One of the models that are listed."""
        name = exchange.path.removeprefix(MODELS)
        found = next((model for model in await self.endpoint.models() if model.id == name), None)
        if found is None:
            raise unknown_model(name)
        await exchange.answer(200, wire_out.model(found, self._started))
        return ""

    async def _health(self, exchange: AsgiExchange) -> str:
        status, said = (503, b'{"status":"draining"}') if self.draining else (200, b'{"status":"ok"}')
        await exchange.answer(status, said)
        return ""

    async def _tell_metrics(self, exchange: AsgiExchange) -> str:
        text = self.metrics.text(len(self.events), self.events.dropped)
        await exchange.answer(200, text, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),))
        return ""
