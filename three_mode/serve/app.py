"""Routes a request to its handler, within the limits; an ASGI application."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from three_mode.errors import DeadlineExceeded, ThreeModeError
from three_mode.serve import cors, guard, wire_in, wire_out
from three_mode.serve.asgi import AsgiExchange, Refused, Scope, Send
from three_mode.serve.backend import Backend
from three_mode.serve.bodies import Bodies
from three_mode.serve.chat import Chat
from three_mode.serve.events import EventHub
from three_mode.serve.faults import EndpointFault, fault, from_error
from three_mode.serve.lifespan import OpenBackend, run_lifespan
from three_mode.serve.metrics import EndpointMetrics
from three_mode.serve.options import ServeOptions
from three_mode.serve.telling import TellingBackend, ToldBackend
from three_mode.serve.watching import CutShort, Disconnected, EventWatch, Receive
from three_mode.serve.websocket import watch_events

log = logging.getLogger("three_mode.serve")
WITHIN = b"three-mode-within"
READ_BESIDE = 1 << 17  # bytes of a body that take milliseconds to read


class App:
    """The endpoint. `drain()` lets what runs end and refuses what is new.

    `backend` is what it hands out; or a function that opens it when the server starts, as an async context manager:
    each worker of a server with several has its own.
    """

    def __init__(
        self, backend: Backend | OpenBackend, options: ServeOptions | None = None, events: EventHub | None = None
    ) -> None:
        self.options = options or ServeOptions()
        self.events = EventHub(self.options.event_buffer) if events is None else events  # an empty one is falsy
        self.metrics = EndpointMetrics()
        self.draining = False
        self._open = backend if callable(backend) else None
        self._backend: Backend | None = None
        self._chat: Chat | None = None
        if not callable(backend):
            self._use(backend)
        self._watch = EventWatch()
        self._bodies = Bodies(max(self.options.max_bodies, self.options.max_body))
        self._working = 0  # requests that are whole, and hold a place
        self._working_bytes = 0  # of their bodies
        self._idle = asyncio.Event()  # of use while draining only
        self._running: set[asyncio.Task[Any]] = set()
        self._cut = False
        self._started = int(time.time())
        self._routes: dict[str, tuple[str, Callable[[AsgiExchange], Awaitable[str]]]] = {
            "/v1/chat/completions": ("POST", self._complete),
            "/v1/embeddings": ("POST", self._embed),
            "/v1/models": ("GET", self._models),
            "/healthz": ("GET", self._health),
            "/metrics": ("GET", self._tell_metrics),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A coroutine function, by which other servers know an application of ASGI 3."""
        if scope["type"] == "http":
            await self._answer(AsgiExchange(scope, receive, send, self._watch))
        elif scope["type"] == "websocket":
            await watch_events(scope, receive, send, self.events, self.options)
        else:
            await run_lifespan(receive, send, self._open, self._use)

    def _use(self, backend: Backend) -> None:
        told = backend if isinstance(backend, TellingBackend) else ToldBackend(backend)
        self._backend, self._chat = backend, Chat(told, self.events, self.metrics)
        self.events.follow(told.event_hub)

    async def drain(self) -> bool:
        """True when all that ran has ended within the time it had."""
        self.draining = True
        if not self.metrics.in_flight:
            return True
        try:
            async with asyncio.timeout(self.options.drain_within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def cut_off(self) -> None:
        """Ends what still runs: the server below waits for it, however long that takes."""
        self._cut = True
        for task in self._running:
            task.cancel()

    async def _answer(self, exchange: AsgiExchange) -> None:
        started = time.perf_counter()
        model = ""
        self.metrics.in_flight += 1
        task = asyncio.current_task(self._watch.loop)
        assert task is not None
        self._running.add(task)
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
            if not self._cut or exchange.status:
                raise  # an answer that had begun: the server closes the stream, which the client sees
            await exchange.refuse(_draining())
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("request %s failed", number)
            if exchange.status == 0:
                await exchange.refuse(fault(500, f"an unforeseen error; it is logged as {number}", "internal_error"))
            else:
                raise  # the answer had begun: the server closes the stream, which the client sees
        finally:
            self.metrics.in_flight -= 1
            self._running.discard(task)
            if self.draining and self.metrics.in_flight == 0:
                self._idle.set()
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
        if route is None and (exchange.path + "/").startswith("/v1/conversations/"):
            return await self._conversations(exchange)
        if route is None:
            known = ", ".join(self._routes)
            raise Refused(fault(404, f"no such path; there are {known} and the WebSocket /events", "no_such_path"))
        method, handler = route
        if exchange.method != method:
            raise Refused(fault(405, f"{exchange.path} takes {method}", "method_not_allowed"))
        return await handler(exchange)

    def _admit(self) -> None:
        if self.draining:
            raise Refused(_draining())
        if self._backend is None:
            raise Refused(_starting())
        if self._working >= self.options.max_in_flight:
            raise Refused(_overloaded(f"{self.options.max_in_flight} requests are being answered already"))

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
            body = await exchange.body(self.options.max_body, within, self._bodies)
        except TimeoutError:
            raise DeadlineExceeded(f"the body did not come whole within {within:g} s") from None
        except CutShort:
            raise Refused(_overloaded("too many bytes of requests are being read")) from None
        self._admit()
        if self._working_bytes + len(body) > self._bodies.limit:
            raise Refused(_overloaded("requests of too many bytes are being answered already"))
        return body

    async def _read_chat(self, body: bytes, within: float) -> wire_in.ChatQuestion:
        """A large body is read beside the loop, so that others are answered meanwhile."""
        if len(body) < READ_BESIDE:
            return wire_in.read_chat(body, within, self.options.max_messages)
        return await asyncio.to_thread(wire_in.read_chat, body, within, self.options.max_messages)

    async def _complete(self, exchange: AsgiExchange) -> str:
        self._admit()
        within = self._within(exchange)
        body = await self._body(exchange, within)
        self._working += 1
        self._working_bytes += len(body)
        try:
            asked = await self._read_chat(body, within)
            chat = self._chat
            assert chat is not None
            await (chat.stream if asked.stream else chat.complete)(exchange, asked)
        finally:
            self._working -= 1
            self._working_bytes -= len(body)
        return asked.request.model or ""

    async def _embed(self, exchange: AsgiExchange) -> str:
        self._admit()
        within = self._within(exchange)
        body = await self._body(exchange, within)
        self._working += 1
        self._working_bytes += len(body)
        try:
            asked, as_base64 = wire_in.read_embeddings(body, within)
            model = asked.model or ""
            assert self._backend is not None
            with exchange.while_connected():
                embedded = await self._backend.embed(asked)
            self.metrics.used(model, embedded.usage)
            await exchange.answer(200, wire_out.embeddings(embedded, as_base64))
        finally:
            self._working -= 1
            self._working_bytes -= len(body)
        return model

    async def _conversations(self, exchange: AsgiExchange) -> str:
        """Conversations that are kept, where the backend keeps some."""
        from three_mode.serve.conversations import ConversationBackend, answer

        self._admit()
        if not isinstance(self._backend, ConversationBackend):
            raise Refused(fault(404, "this endpoint keeps no conversations (--talks FILE)", "no_such_path"))
        within = self._within(exchange)
        body = await self._body(exchange, within) if exchange.method == "POST" else b""
        try:
            async with asyncio.timeout(within):
                found = await answer(self._backend, exchange.method, exchange.path, exchange.query, body)
        except LookupError:
            raise Refused(fault(404, "no such path or method of conversations", "no_such_path")) from None
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise DeadlineExceeded(f"the conversation was not free within {within:g} s") from None
        await exchange.answer(200, msgspec.json.encode(found))
        return ""

    async def _models(self, exchange: AsgiExchange) -> str:
        if self._backend is None:
            raise Refused(_starting())
        await exchange.answer(200, wire_out.models(await self._backend.available_models(), self._started))
        return ""

    async def _health(self, exchange: AsgiExchange) -> str:
        status, said = (503, b'{"status":"draining"}') if self.draining else (200, b'{"status":"ok"}')
        await exchange.answer(status, said)
        return ""

    async def _tell_metrics(self, exchange: AsgiExchange) -> str:
        text = self.metrics.text(len(self.events), self.events.dropped)
        await exchange.answer(200, text, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),))
        return ""


def _overloaded(why: str) -> EndpointFault:
    return fault(503, why, "overloaded", retry_after=1)


def _starting() -> EndpointFault:
    return fault(503, "the endpoint has not started: its server sent it no lifespan event", "starting", retry_after=1)


def _draining() -> EndpointFault:
    return fault(503, "the endpoint is shutting down", "draining", retry_after=1)
