"""`/mcp`: MCP's streamable HTTP, of both eras. A message comes as a POST, and its answer is JSON, or events where a
client is told of its progress."""

import asyncio
from collections.abc import Sequence
from functools import partial
from secrets import token_hex
from typing import Any

import msgspec

from three_mode.errors import ThreeModeError
from three_mode.mcp.eras import (
    CANCELLED,
    HANDSHAKE,
    PROGRESS,
    SESSION_HEADER,
    STATELESS,
    SUBSCRIPTION_KEY,
    VERSION_HEADER,
    VERSIONS,
    is_stateless,
)
from three_mode.mcp.offered import SeveralSources, TellProgress, ToolSource
from three_mode.mcp.rpc import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    UNSUPPORTED_VERSION,
    RequestId,
    RpcFailure,
    RpcNotification,
    RpcRequest,
    read_message,
    write_failure,
    write_notification,
    write_result,
)
from three_mode.mcp.server import SPARE, McpServer, progress_token, unsupported
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.serve.asgi import EVENTS, AsgiExchange, Refused
from three_mode.serve.asked_as import KnownAs
from three_mode.serve.chat import UNREAD
from three_mode.serve.endpoint import EndpointState, overloaded
from three_mode.serve.faults import EndpointFault, fault
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute
from three_mode.serve.surfaces.mcp.bus_tools import BusTools, VerbsOnBus
from three_mode.serve.surfaces.mcp.headers import check_headers
from three_mode.serve.surfaces.mcp.model_tools import ModelTools
from three_mode.serve.watching import Disconnected

PATH = "/mcp"
PING = 15.0  # seconds between two signs of life of a stream, which proxies would close otherwise
CALL_CANCELLED = -32800
_REFUSED = -32000
_OF_THE_MESSAGE = frozenset((PARSE_ERROR, HEADER_MISMATCH, UNSUPPORTED_VERSION))
Key = tuple[str, RequestId]


class McpSurface:
    """MCP of one endpoint: the tools of its bus, and its models if its options say so.

    No session is kept: its id only tells whose call a notification cancels.
    """

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake
        sources: list[ToolSource] = []
        agents: object = endpoint.agents
        self._bus_tools: BusTools | None = None
        if isinstance(agents, VerbsOnBus):
            self._bus_tools = BusTools(agents)
            sources.append(self._bus_tools)
        if endpoint.options.mcp_models:
            sources.append(ModelTools(endpoint.models, self._ask_model))
        self._server = McpServer(SeveralSources(sources))
        self._running: dict[Key, asyncio.Task[dict[str, Any]]] = {}
        self._listening = 0

    def routes(self) -> Sequence[PathRoute]:
        return (PathRoute("", PATH, self._answer, refused_as=mcp_fault),)

    async def close(self) -> None:
        """Stops watching the bus."""
        if self._bus_tools is not None:
            self._bus_tools.close()

    async def _ask_model(self, request: LLMRequest) -> LLMResponse:
        endpoint, model = self._endpoint, request.model or ""
        assert endpoint.told is not None
        with KnownAs(endpoint.events, model, None):
            response = await endpoint.told.chat_completion(request)
        endpoint.metrics.used(model, response.usage)
        return response

    async def _answer(self, exchange: AsgiExchange) -> str:
        exchange.refused_as = mcp_fault
        self._endpoint.admit()
        if exchange.method == "POST":
            await self._take(exchange)
        elif exchange.method == "GET":
            await self._follow(exchange)
        elif exchange.method == "DELETE":
            self._end_session(exchange.header(SESSION_HEADER))
            await exchange.answer(200, b"", ())
        else:
            raise Refused(fault(405, f"{PATH} takes POST, GET and DELETE", "method_not_allowed"))
        return ""

    async def _take(self, exchange: AsgiExchange) -> None:
        kind = exchange.header(b"content-type") or ""
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise Refused(fault(415, "a message has the content-type application/json", "unsupported_media_type"))
        within = self._intake.within(exchange)
        body = await self._intake.body(exchange, within)
        number: RequestId | None = None
        try:
            message = read_message(body)
            if isinstance(message, RpcRequest):
                number = message.id
                check_headers(message, exchange.header)
                if message.method == "subscriptions/listen" and is_stateless(message.params):
                    await self._subscribe(exchange, message)
                else:
                    await self._held(exchange, message, within, len(body))
                return
        except RpcFailure as failure:
            await self._fail(exchange, failure, number)
            return
        if isinstance(message, RpcNotification) and message.method == CANCELLED:
            self._cancel(exchange.header(SESSION_HEADER), message.params.get("requestId"))
        version = exchange.header(VERSION_HEADER)
        if version is not None and version not in VERSIONS:
            await self._fail(exchange, unsupported(version), None)
        else:
            await exchange.answer(202, b"", ())

    async def _held(self, exchange: AsgiExchange, request: RpcRequest, within: float, size: int) -> None:
        """Answers a request, which has a place meanwhile."""
        self._endpoint.hold(size)
        try:
            async with asyncio.timeout(within + SPARE + UNREAD):
                await self._respond(exchange, request, within)
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise Disconnected("the client did not read its answer") from None
        finally:
            self._endpoint.release(size)

    async def _respond(self, exchange: AsgiExchange, request: RpcRequest, within: float) -> None:
        token = progress_token(request.params)
        tell = None
        if token is not None and _takes_events(exchange):
            tell = partial(_tell_progress, exchange, token)
        try:
            with exchange.while_connected():
                result = await self._result(exchange, request, within, tell)
        except RpcFailure as failure:
            if exchange.status == 0:
                raise
            await exchange.end(_event(write_failure(failure, request.id)))
            return
        if request.method == "initialize" and not is_stateless(request.params):
            exchange.always = (*exchange.always, (SESSION_HEADER, token_hex(16).encode()))
        answer = write_result(request.id, result)
        if exchange.status == 0:
            await exchange.answer(200, answer)
        else:
            await exchange.end(_event(answer))

    async def _result(
        self, exchange: AsgiExchange, request: RpcRequest, within: float, tell: TellProgress | None
    ) -> dict[str, Any]:
        session = exchange.header(SESSION_HEADER)
        if session is None or is_stateless(request.params):
            return await self._server.answer(request, within, tell)
        key = (session, request.id)
        if key in self._running:
            raise RpcFailure(INVALID_REQUEST, f"the id {request.id!r} is that of a request that runs")
        work = asyncio.get_running_loop().create_task(self._server.answer(request, within, tell))
        self._running[key] = work
        try:
            return await work
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise RpcFailure(CALL_CANCELLED, "the call was cancelled") from None
        finally:
            del self._running[key]

    def _cancel(self, session: str | None, number: object) -> None:
        """Ends a call of a session. Without a session nobody knows whose call a number is: every client counts from
        one."""
        if session is not None and isinstance(number, int | str):
            work = self._running.get((session, number))
            if work is not None:
                work.cancel()

    def _end_session(self, session: str | None) -> None:
        for (whose, _), work in list(self._running.items()):
            if whose == session:
                work.cancel()

    async def _follow(self, exchange: AsgiExchange) -> None:
        """The stream of notifications of the handshake era."""
        version = exchange.header(VERSION_HEADER)
        if version in STATELESS or not _takes_events(exchange):
            raise Refused(fault(405, f"{PATH} takes POST; a GET is for events of {HANDSHAKE[0]}", "method_not_allowed"))
        await self._listen(exchange, b": listening\n\n", True, None)

    async def _subscribe(self, exchange: AsgiExchange, request: RpcRequest) -> None:
        """The same of the stateless era."""
        if not _takes_events(exchange):
            raise Refused(fault(406, "a subscription is answered with events", "not_acceptable"))
        said, tools = self._server.acknowledgement(request.id, request.params)
        await self._listen(exchange, _event(said), tools, request.id)
        result = self._server.stateless({}, **{SUBSCRIPTION_KEY: request.id})
        await exchange.end(_event(write_result(request.id, result)))

    async def _listen(self, exchange: AsgiExchange, first: bytes, tools: bool, number: RequestId | None) -> None:
        """Tells of changes until the client leaves, or the endpoint drains."""
        endpoint = self._endpoint
        if self._listening >= endpoint.options.max_event_readers:
            raise Refused(overloaded(f"{self._listening} clients listen already"))
        wake = asyncio.Event()
        stop = self._server.source.watch(wake.set) if tools else None
        self._listening += 1
        endpoint.at_drain.add(wake.set)
        try:
            await exchange.begin(EVENTS)
            with exchange.while_connected():
                await exchange.write(first)
                while not endpoint.draining:
                    try:
                        async with asyncio.timeout(PING):
                            await wake.wait()
                    except TimeoutError:
                        await exchange.write(b": still here\n\n")
                        continue
                    wake.clear()
                    if not endpoint.draining:
                        await exchange.write(_event(self._server.list_changed(number)))
        finally:
            self._listening -= 1
            endpoint.at_drain.discard(wake.set)
            if stop is not None:
                stop()
        if number is None:
            await exchange.end()

    @staticmethod
    async def _fail(exchange: AsgiExchange, failure: RpcFailure, number: RequestId | None) -> None:
        """An error of the protocol. In the handshake era what became of a request has no status of its own: a 404 would
        say that the session is over."""
        older = exchange.header(VERSION_HEADER) in HANDSHAKE or exchange.header(SESSION_HEADER) is not None
        if failure.code in _OF_THE_MESSAGE or number is None:
            status = 400
        elif older or failure.code not in (METHOD_NOT_FOUND, INVALID_PARAMS, INVALID_REQUEST):
            status = 200
        else:
            status = 404 if failure.code == METHOD_NOT_FOUND else 400
        await exchange.answer(status, write_failure(failure, number))


async def _tell_progress(exchange: AsgiExchange, token: RequestId, count: int, text: str) -> None:
    """The answer becomes a stream with the first word of its progress."""
    if exchange.status == 0:
        await exchange.begin(EVENTS)
    said = {"progressToken": token, "progress": count, "message": text}
    await exchange.write(_event(write_notification(PROGRESS, said)))


def _takes_events(exchange: AsgiExchange) -> bool:
    return "text/event-stream" in (exchange.header(b"accept") or "")


def _event(message: bytes) -> bytes:
    return b"event: message\ndata: " + message + b"\n\n"


def mcp_fault(refused: EndpointFault) -> EndpointFault:
    """A refusal of the endpoint in the shape of JSON-RPC."""
    said = msgspec.json.decode(refused.body)["error"]
    code = INTERNAL_ERROR if refused.status == 500 else _REFUSED
    body = write_failure(RpcFailure(code, said["message"], {"code": said["code"]}))
    return EndpointFault(refused.status, body, refused.retry_after)
