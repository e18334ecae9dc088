"""Routes a request to its handler, within the limits; an ASGI application."""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial

from three_mode.callers_trace import callers_trace
from three_mode.errors import MissingExtra, ThreeModeError
from three_mode.page.content import PageContent
from three_mode.serve import cors, guard
from three_mode.serve.access_log import AccessLog
from three_mode.serve.asgi import TRAILERS, AsgiExchange, Refused, Scope, Send
from three_mode.serve.at_once import AtOnce
from three_mode.serve.backend import AgentVerbs, Backend
from three_mode.serve.endpoint import EndpointState, going_down
from three_mode.serve.events import EventHub
from three_mode.serve.faults import EndpointFault, fault, from_error
from three_mode.serve.intake import Intake
from three_mode.serve.lifespan import OpenBackend, run_lifespan
from three_mode.serve.options import ServeOptions
from three_mode.serve.proxy import believe_proxy
from three_mode.serve.routes import LateSurface, PathRoute, Routes, Surface, answered, close_all
from three_mode.serve.surfaces import names_grpc, refuse_grpc, speaks_grpc
from three_mode.serve.surfaces.anthropic_messages.surface import MessagesSurface
from three_mode.serve.surfaces.openai_chat import ChatSurface
from three_mode.serve.surfaces.openai_embeddings import EmbeddingsSurface
from three_mode.serve.surfaces.openai_models import ModelsSurface
from three_mode.serve.surfaces.operations import OperationsSurface
from three_mode.serve.watching import Disconnected, Receive
from three_mode.serve.websocket import watch_events
from transports.http2.server import Cycle

log = logging.getLogger("three_mode.serve")
WELL_KNOWN_CARD = "/.well-known/agent-card.json"


class App:
    """The endpoint. `drain()` lets what runs end and refuses what is new.

    `backend` is what it hands out; or a function that opens it when the server starts, as an async context manager:
    each worker of a server with several has its own. `agents` are the verbs of a bus, for `AgentService` of gRPC
    and the tools of MCP. `page` is what the page at `/` shows; by default the bus of `agents`.
    """

    def __init__(
        self,
        backend: Backend | OpenBackend,
        options: ServeOptions | None = None,
        events: EventHub | None = None,
        agents: AgentVerbs | None = None,
        page: PageContent | None = None,
    ) -> None:
        self.options = options or ServeOptions()
        self.events = EventHub(self.options.event_buffer) if events is None else events  # an empty one is falsy
        self.endpoint = EndpointState(self.options, self.events, agents, page)
        self.metrics = self.endpoint.metrics
        self._open = backend if callable(backend) else None
        if not callable(backend):
            self.endpoint.use(backend)
        self._grpc: Callable[[Scope, Receive, Send], Awaitable[None]] | None = None
        endpoint, intake = self.endpoint, Intake(self.endpoint)
        self._surfaces: tuple[Surface, ...] = (
            ChatSurface(endpoint, intake),
            LateSurface(partial(_responses, endpoint, intake), "/v1/responses", "/v1/responses/"),
            LateSurface(partial(_completions, endpoint, intake), "/v1/completions"),
            LateSurface(partial(_rerank, endpoint, intake), "/v1/rerank", "/rerank", "/v1/reranking"),
            MessagesSurface(endpoint, intake),
            EmbeddingsSurface(endpoint, intake),
            ModelsSurface(endpoint),
            LateSurface(partial(_conversations, endpoint, intake), "/v1/conversations", "/v1/conversations/"),
            LateSurface(partial(_mcp, endpoint, intake), "/mcp", refused_as=_mcp_refusal),
            LateSurface(partial(_page_files, endpoint), "/", "/page/static/", "/page/session", public=True),
            LateSurface(partial(_page, endpoint), "/page/about", "/page/steer"),
            LateSurface(partial(_replay, endpoint), "/page/replay/", "/page/time/"),
            LateSurface(partial(_a2a, endpoint, intake), WELL_KNOWN_CARD, "/a2a", "/a2a/", refused_as=_a2a_refusal),
            OperationsSurface(endpoint),
        )
        self._routes = Routes(route for surface in self._surfaces for route in surface.routes())
        self._access = AccessLog.of(self.options)
        # What a server of ours asks before it speaks ASGI; None where each request is looked at on its way.
        looked_at = self._access is not None or self.options.behind_proxy
        self.at_once = None if looked_at else AtOnce(endpoint, self._routes, intake, self._hand_over).take

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A coroutine function, by which other servers know an application of ASGI 3."""
        if self.options.behind_proxy and scope["type"] != "lifespan":
            believe_proxy(scope)
        if self._access is not None and scope["type"] != "lifespan":
            await self._access.answer(self._take, scope, receive, send)
        else:
            await self._take(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if speaks_grpc(scope):
                await self._answer_grpc(scope, receive, send)
            else:
                await self._answer(AsgiExchange(scope, receive, send, self.endpoint.watch))
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await run_lifespan(receive, send, self._open, self.endpoint.use, partial(close_all, self._surfaces))

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket: a page, or a reader of events."""
        if scope["path"] == "/page/live" and self.endpoint.page is not None:
            from three_mode.serve.page_socket import live_socket

            await live_socket(scope, receive, send, self.endpoint)
        else:
            await watch_events(scope, receive, send, self.events, self.options)

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
        if TRAILERS in scope.get("extensions", ()):
            await self._grpc(scope, receive, send)
        else:
            await refuse_grpc(send, "the server below this endpoint sends no trailers; `three-mode serve` does")

    def _hand_over(self, cycle: Cycle, route: PathRoute) -> None:
        """Goes on with a request that could not be answered at once, by this route."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await self._answer(AsgiExchange(scope, receive, send, self.endpoint.watch), route)

        cycle.start(answer)

    async def _answer(self, exchange: AsgiExchange, route: PathRoute | None = None) -> None:
        started = time.perf_counter()
        model = ""
        task = self.endpoint.begin()
        if route is None:
            route = self._routes.find(exchange.path)
        if route is not None:
            exchange.refused_as = route.refused_as
        if self.options.allowed_origins:
            exchange.always = cors.named(self.options, exchange.header(b"origin"))
        try:
            trace = exchange.header(b"traceparent")
            if trace is None:
                model = await self._routed(exchange, route)
            else:
                with callers_trace(trace, exchange.header(b"tracestate")):
                    model = await self._routed(exchange, route)
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
            path = "other" if route is None else route.path
            self.metrics.finished(path, model, exchange.status, time.perf_counter() - started)
            if exchange.seen is not None:
                exchange.seen.ended(exchange.status, model or exchange.model)

    async def _routed(self, exchange: AsgiExchange, route: PathRoute | None) -> str:
        """Answers, and says which model did."""
        if exchange.method == "OPTIONS" and exchange.always:
            await exchange.answer(200, b"", cors.preflight(exchange.header))
            return ""
        if route is None or not route.public:
            holds = guard.session_for(self.endpoint.sessions.holds, exchange.method, exchange.path, exchange.header)
            refused = guard.refusal(self.options, exchange.header, holds)
            if refused is not None:
                raise Refused(refused)
        if route is None and names_grpc(exchange.path):
            raise Refused(fault(415, "this path takes calls of gRPC: content-type application/grpc", "not_grpc"))
        if route is None:
            known = ", ".join(each.path for each in self._routes)
            raise Refused(fault(404, f"no such path; there are {known} and the WebSocket /events", "no_such_path"))
        return await answered(route, exchange)


def _responses(endpoint: EndpointState, intake: Intake) -> Surface:
    from three_mode.serve.surfaces.openai_responses import ResponsesSurface

    return ResponsesSurface(endpoint, intake)


def _mcp(endpoint: EndpointState, intake: Intake) -> Surface:
    from three_mode.serve.surfaces.mcp.surface import McpSurface

    return McpSurface(endpoint, intake)


def _mcp_refusal(refused: EndpointFault) -> EndpointFault:
    from three_mode.serve.surfaces.mcp.surface import mcp_fault

    return mcp_fault(refused)


def _completions(endpoint: EndpointState, intake: Intake) -> Surface:
    from three_mode.serve.surfaces.openai_completions import CompletionsSurface

    return CompletionsSurface(endpoint, intake)


def _rerank(endpoint: EndpointState, intake: Intake) -> Surface:
    from three_mode.serve.surfaces.openai_rerank import RerankSurface

    return RerankSurface(endpoint, intake)


def _conversations(endpoint: EndpointState, intake: Intake) -> Surface:
    from three_mode.serve.surfaces.openai_conversations import ConversationsSurface

    return ConversationsSurface(endpoint, intake)


def _page_files(endpoint: EndpointState) -> Surface:
    from three_mode.serve.surfaces.page import PageFiles

    return PageFiles(endpoint)


def _page(endpoint: EndpointState) -> Surface:
    from three_mode.serve.surfaces.page import PageSurface

    return PageSurface(endpoint)


def _replay(endpoint: EndpointState) -> Surface:
    from three_mode.serve.surfaces.replay import ReplaySurface

    return ReplaySurface(endpoint)


def _a2a(endpoint: EndpointState, intake: Intake) -> Surface:
    from three_mode.serve.surfaces.a2a.surface import A2ASurface

    return A2ASurface(endpoint, intake)


def _a2a_refusal(refused: EndpointFault) -> EndpointFault:
    from three_mode.serve.surfaces.a2a.binding import HttpBinding

    return HttpBinding().refused(refused)
