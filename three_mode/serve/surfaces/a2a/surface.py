"""A2A over HTTP: cards, and the methods of both bindings.

/.well-known/agent-card.json              the card of the agent that the operator named, or of the only one
/a2a                                      all agents
/a2a/NAME/.well-known/agent-card.json     the card of one
/a2a/NAME                                 it is asked there by JSON-RPC,
/a2a/NAME/message:send, /a2a/NAME/tasks   and below by HTTP+JSON
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.util import find_spec
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

import msgspec

from three_mode.a2a import http_json, rpc
from three_mode.a2a.card import written
from three_mode.a2a.faults import A2AFault
from three_mode.a2a.values import VERSION_HEADER, WELL_KNOWN, ListTasksRequest, SendMessageRequest, TaskRequest, Value
from three_mode.serve.asgi import JSON, AsgiExchange, Refused
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import fault
from three_mode.serve.intake import Intake
from three_mode.serve.options import ServeOptions
from three_mode.serve.routes import PathRoute
from three_mode.serve.surfaces.a2a.binding import Binding, EventLines, HttpBinding, RpcBinding
from three_mode.serve.surfaces.a2a.desk import TaskCall, TaskDesk, check_offered, check_version
from three_mode.serve.surfaces.a2a.offers import Offered, card_of

ROOT = "/a2a"
_PLACE = re.compile(r"(?P<name>.+?)(?::(?P<port>[0-9]+))?")
CARD_AGE = 60  # seconds for which a client may keep a card
_NO_AGENT = "GET /a2a lists the agents"


class HttpCall(NamedTuple):
    """One request to one agent, and the binding that it came in."""

    exchange: AsgiExchange
    binding: Binding
    task: TaskCall

    async def answer(self, value: Any) -> None:
        """Answers with a value of the protocol."""
        await self.exchange.answer(200, self.binding.result(value), ((b"content-type", self.binding.media_type),))


class A2ASurface:
    """Agents of one endpoint, their cards, and their tasks."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake
        self._desk = endpoint.shared(TaskDesk)
        self._methods: dict[str, Callable[[HttpCall, Any], Awaitable[None]]] = {
            rpc.SEND: self._send,
            rpc.STREAM: self._stream,
            rpc.GET: self._get,
            rpc.LIST: self._list,
            rpc.CANCEL: self._cancel,
            rpc.SUBSCRIBE: self._subscribe,
        }

    # routes -----------------------------------------------------------------------------------------------------------
    def routes(self) -> Sequence[PathRoute]:
        return (
            PathRoute("GET", WELL_KNOWN, self._answer_card),
            PathRoute("GET", ROOT, self._answer_list),
            PathRoute("", ROOT + "/", self._answer),
        )

    async def _answer_card(self, exchange: AsgiExchange) -> str:
        """The card of the default agent."""
        self._endpoint.admit()
        said, offered = await self._desk.default()
        if offered is None:
            raise Refused(fault(404, f"{said}; {_NO_AGENT}", "no_default_agent"))
        await self._tell_card(exchange, offered)
        return ""

    async def _answer_list(self, exchange: AsgiExchange) -> str:
        """All agents, and where their cards are."""
        root = self._url(exchange, "")
        agents = [
            {"name": name, "url": self._url(exchange, name), "card": self._url(exchange, name) + WELL_KNOWN}
            for name in await self._all()
        ]
        await exchange.answer(200, msgspec.json.encode({"url": root, "agents": agents}))
        return ""

    async def _answer(self, exchange: AsgiExchange) -> str:
        """A request to one agent, in either binding; says which agent it was."""
        name, path = _split(exchange.path)
        if path == WELL_KNOWN:
            if exchange.method != "GET":
                raise Refused(fault(405, f"{exchange.path} takes GET", "method_not_allowed"))
            await self._tell_card(exchange, _found((await self._all()).get(name)))
            return ""
        binding: Binding
        try:
            if path:
                binding = HttpBinding()
                exchange.refused_as = binding.refused
                await self._answer_http(exchange, name, path, binding)
            else:
                binding = rpc_binding = RpcBinding()
                exchange.refused_as = binding.refused
                await self._answer_rpc(exchange, name, rpc_binding)
        except A2AFault as refused:
            body = binding.refusal(refused)
            await exchange.answer(binding.status(refused), body, ((b"content-type", binding.media_type),))
        return exchange.model

    async def _answer_rpc(self, exchange: AsgiExchange, name: str, binding: RpcBinding) -> None:
        if exchange.method != "POST":
            raise Refused(fault(405, f"JSON-RPC at {exchange.path} takes POST", "method_not_allowed"))
        task, body = await self._read(exchange, name)
        try:
            request = rpc.read_request(body)
        except rpc.RpcRefused as refused:
            binding.id = refused.id
            raise refused.fault from None
        binding.id = None if request.id is msgspec.UNSET else request.id
        check_version(_version(exchange))
        check_offered(request.method)
        parameters = rpc.read_parameters(request.params, rpc.PARAMETERS[request.method])
        await self._call(HttpCall(exchange, binding, task), request.method, parameters, len(body))

    async def _answer_http(self, exchange: AsgiExchange, name: str, path: str, binding: Binding) -> None:
        try:
            call = http_json.called(exchange.method, path)
        except http_json.WrongVerb as wrong:
            raise Refused(fault(405, f"{exchange.path} takes {wrong}", "method_not_allowed")) from None
        task, body = await self._read(exchange, name)
        check_version(_version(exchange))
        check_offered(call.method)
        kind = rpc.PARAMETERS[call.method]
        if kind is SendMessageRequest:
            parameters = http_json.read_body(body, kind)
        else:
            parameters = http_json.read_query(exchange.query, call)
        await self._call(HttpCall(exchange, binding, task), call.method, parameters, len(body))

    async def _read(self, exchange: AsgiExchange, name: str) -> tuple[TaskCall, bytes]:
        self._endpoint.admit()
        within = self._intake.within(exchange)
        body = await self._intake.body(exchange, within) if exchange.method == "POST" else b""
        agent = _found(await self._desk.offers.find(name))
        exchange.model = name
        return TaskCall(exchange.header, agent, within), body

    async def _call(self, asked: HttpCall, method: str, parameters: Value, size: int) -> None:
        """Answers, and holds a place meanwhile."""
        self._endpoint.hold(size)
        try:
            await self._methods[method](asked, parameters)
        finally:
            self._endpoint.release(size)

    # methods ----------------------------------------------------------------------------------------------------------
    async def _send(self, asked: HttpCall, parameters: SendMessageRequest) -> None:
        await asked.answer(await self._desk.send(asked.task, parameters, asked.exchange.while_connected()))

    async def _stream(self, asked: HttpCall, parameters: SendMessageRequest) -> None:
        await self._desk.stream(asked.task, parameters, EventLines(asked.exchange, asked.binding))

    async def _get(self, asked: HttpCall, parameters: TaskRequest) -> None:
        await asked.answer(self._desk.get(asked.task, parameters))

    async def _list(self, asked: HttpCall, parameters: ListTasksRequest) -> None:
        await asked.answer(self._desk.page(asked.task, parameters))

    async def _cancel(self, asked: HttpCall, parameters: TaskRequest) -> None:
        await asked.answer(await self._desk.cancel(asked.task, parameters))

    async def _subscribe(self, asked: HttpCall, parameters: TaskRequest) -> None:
        await self._desk.subscribe(asked.task, parameters, EventLines(asked.exchange, asked.binding))

    # cards ------------------------------------------------------------------------------------------------------------
    async def _all(self) -> dict[str, Offered]:
        self._endpoint.admit()
        return await self._desk.offers.all()

    async def _tell_card(self, exchange: AsgiExchange, offered: Offered) -> None:
        options = self._endpoint.options
        url, grpc = self._url(exchange, offered.name), _grpc_place(exchange, options)
        card = card_of(offered, url, "1", bool(options.api_keys), grpc)
        body, tag = written(card)
        headers = ((b"etag", tag), (b"cache-control", b"max-age=%d" % CARD_AGE))
        known = (exchange.header(b"if-none-match") or "").split(",")
        if tag.decode() in [one.strip().removeprefix("W/") for one in known]:
            await exchange.answer(304, b"", headers)
        else:
            await exchange.answer(200, body, (JSON, *headers))

    def _url(self, exchange: AsgiExchange, name: str) -> str:
        """Where an agent is asked, as the client of this request knows the endpoint."""
        options = self._endpoint.options
        host = exchange.header(b"host") or f"{options.host}:{options.port}"
        return f"{exchange.scheme}://{host}{ROOT}" + (f"/{quote(name, safe='')}" if name else "")


def _grpc_place(exchange: AsgiExchange, options: ServeOptions) -> str:
    """Where the client of this request can speak gRPC, as its programs take it: HOST:PORT; "" for nowhere.

    It is the place of the request itself, if the server below sends trailers and nothing stands before it that may
    speak HTTP/1 alone. A port that the operator gave to gRPC is told in any case.
    """
    if find_spec("google.protobuf") is None or not exchange.sends_trailers:
        return ""
    place = _PLACE.fullmatch(exchange.header(b"host") or f"{options.host}:{options.port}")
    if place is None:
        return ""
    name, port = place["name"], place["port"]
    if isinstance(options.grpc, int):
        return f"{name}:{options.grpc}"
    if options.behind_proxy:
        return ""
    return f"{name}:{port or (443 if exchange.scheme == 'https' else 80)}"


def _split(path: str) -> tuple[str, str]:
    """The name of an agent in a path, and what follows it; "" for a path of no agent."""
    if not path.startswith(ROOT + "/"):
        return "", ""
    name, slash, rest = path.removeprefix(ROOT + "/").partition("/")
    return name, slash + rest if rest else ""


def _found(offered: Offered | None) -> Offered:
    if offered is None:
        raise Refused(fault(404, f"there is no such agent; {_NO_AGENT}", "agent_not_found"))
    return offered


def _version(exchange: AsgiExchange) -> str:
    """The version that a client names, in a header or in the query."""
    given = exchange.header(VERSION_HEADER.encode())
    if given is None:
        given = next(iter(parse_qs(exchange.query.decode("latin-1"), max_num_fields=64).get("A2A-Version", ())), "")
    return given
