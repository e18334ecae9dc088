"""A2A over HTTP: cards, and the methods of both bindings.

/.well-known/agent-card.json              the card of the agent that the operator named, or of the only one
/a2a                                      all agents
/a2a/NAME/.well-known/agent-card.json     the card of one
/a2a/NAME                                 it is asked there by JSON-RPC,
/a2a/NAME/message:send, /a2a/NAME/tasks   and below by HTTP+JSON
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qs, quote

import msgspec

from three_mode.a2a import http_json, rpc
from three_mode.a2a.card import written
from three_mode.a2a.faults import (
    BAD_VERSION,
    INVALID_PARAMS,
    NO_PUSH,
    NO_SUCH_METHOD,
    NOT_CANCELABLE,
    UNSUPPORTED,
    A2AFault,
)
from three_mode.a2a.values import (
    VERSION,
    VERSION_HEADER,
    WELL_KNOWN,
    ListTasksRequest,
    SendMessageRequest,
    StreamResponse,
    TaskRequest,
    Value,
)
from three_mode.serve import guard
from three_mode.serve.asgi import JSON, AsgiExchange, Refused
from three_mode.serve.endpoint import EndpointState, overloaded
from three_mode.serve.faults import fault
from three_mode.serve.intake import Intake
from three_mode.serve.routes import PathRoute
from three_mode.serve.surfaces.a2a.binding import Binding, HttpBinding, RpcBinding
from three_mode.serve.surfaces.a2a.messages import part_of
from three_mode.serve.surfaces.a2a.offers import Offered, Offers, card_of
from three_mode.serve.surfaces.a2a.record import TaskRecord, TaskTooLarge
from three_mode.serve.surfaces.a2a.store import Full, StoreLimits, TaskStore
from three_mode.serve.surfaces.a2a.streams import EventStream
from three_mode.serve.surfaces.a2a.work import TaskWork

ROOT = "/a2a"
CARD_AGE = 60  # seconds for which a client may keep a card
_NO_AGENT = "GET /a2a lists the agents"


class TaskCall:
    """One request to one agent, whose caller is known."""

    __slots__ = ("agent", "exchange", "owner", "within")

    def __init__(self, exchange: AsgiExchange, agent: Offered, within: float) -> None:
        self.exchange, self.agent, self.within = exchange, agent, within
        key = guard.given_key(exchange.header) or ""
        self.owner = hashlib.blake2b(key.encode(), digest_size=16).digest()


class A2ASurface:
    """Agents of one endpoint and their tasks, which are kept in memory."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake
        self.store = TaskStore(StoreLimits.of(endpoint.options))
        self._offers = Offers(endpoint)
        self._work = TaskWork(endpoint, self.store)
        self._methods: dict[str, Callable[[TaskCall, Any, Binding], Awaitable[None]]] = {
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
        agents, wanted = await self._all(), self._endpoint.options.a2a_default
        if wanted is None and len(agents) == 1:
            (wanted,) = agents
        if wanted is None:
            said = "this endpoint has several agents" if agents else "this endpoint has no agent"
            raise Refused(fault(404, f"{said}; {_NO_AGENT}", "no_default_agent"))
        await self._tell_card(exchange, _found(agents.get(wanted)))
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
        asked, body = await self._read(exchange, name)
        try:
            request = rpc.read_request(body)
        except rpc.RpcRefused as refused:
            binding.id = refused.id
            raise refused.fault from None
        binding.id = None if request.id is msgspec.UNSET else request.id
        _check_version(exchange)
        _check_offered(request.method)
        parameters = rpc.read_parameters(request.params, rpc.PARAMETERS[request.method])
        await self._call(asked, request.method, parameters, binding, len(body))

    async def _answer_http(self, exchange: AsgiExchange, name: str, path: str, binding: Binding) -> None:
        try:
            call = http_json.called(exchange.method, path)
        except http_json.WrongVerb as wrong:
            raise Refused(fault(405, f"{exchange.path} takes {wrong}", "method_not_allowed")) from None
        asked, body = await self._read(exchange, name)
        _check_version(exchange)
        _check_offered(call.method)
        kind = rpc.PARAMETERS[call.method]
        if kind is SendMessageRequest:
            parameters = http_json.read_body(body, kind)
        else:
            parameters = http_json.read_query(exchange.query, call)
        await self._call(asked, call.method, parameters, binding, len(body))

    async def _read(self, exchange: AsgiExchange, name: str) -> tuple[TaskCall, bytes]:
        self._endpoint.admit()
        within = self._intake.within(exchange)
        body = await self._intake.body(exchange, within) if exchange.method == "POST" else b""
        agent = _found(await self._offers.find(name))
        exchange.model = name
        return TaskCall(exchange, agent, within), body

    async def _call(self, asked: TaskCall, method: str, parameters: Value, binding: Binding, size: int) -> None:
        """Answers, and holds a place meanwhile."""
        self._endpoint.hold(size)
        try:
            await self._methods[method](asked, parameters, binding)
        finally:
            self._endpoint.release(size)

    # methods ----------------------------------------------------------------------------------------------------------
    async def _send(self, asked: TaskCall, parameters: SendMessageRequest, binding: Binding) -> None:
        how, history = parameters.configuration, _history_of(parameters)
        record = self._begin(asked, parameters)
        if how is None or not how.return_immediately:
            with asked.exchange.while_connected():
                await record.until_settled()  # its work keeps the deadline
        await _answer(asked, binding, StreamResponse(task=record.task(history)))

    async def _stream(self, asked: TaskCall, parameters: SendMessageRequest, binding: Binding) -> None:
        history = _history_of(parameters)
        record = self._begin(asked, parameters)
        await self._tell_events(asked, record, binding, history)

    async def _get(self, asked: TaskCall, parameters: TaskRequest, binding: Binding) -> None:
        record = self.store.get(asked.owner, asked.agent.name, parameters.id)
        await _answer(asked, binding, record.task(_checked_history(parameters.history_length)))

    async def _list(self, asked: TaskCall, parameters: ListTasksRequest, binding: Binding) -> None:
        _checked_history(parameters.history_length)
        await _answer(asked, binding, self.store.page(asked.owner, asked.agent.name, parameters))

    async def _cancel(self, asked: TaskCall, parameters: TaskRequest, binding: Binding) -> None:
        record = self.store.get(asked.owner, asked.agent.name, parameters.id)
        if record.state.finished or not await self._work.cancel(record):
            raise A2AFault(NOT_CANCELABLE, f"the task has ended: {record.state.value}", taskId=record.id)
        await _answer(asked, binding, record.task())

    async def _subscribe(self, asked: TaskCall, parameters: TaskRequest, binding: Binding) -> None:
        record = self.store.get(asked.owner, asked.agent.name, parameters.id)
        if record.state.finished:
            raise A2AFault(UNSUPPORTED, f"the task has ended: {record.state.value}", taskId=record.id)
        await self._tell_events(asked, record, binding, None)

    async def _tell_events(self, asked: TaskCall, record: TaskRecord, binding: Binding, history: int | None) -> None:
        stream = EventStream(asked.exchange, record, binding, history, asked.within)
        await stream.send(self._endpoint, self._work.fail)

    def _begin(self, asked: TaskCall, parameters: SendMessageRequest) -> TaskRecord:
        """The task of a message, on which its agent works from now on."""
        message, agent = parameters.message, asked.agent
        if message.role != "ROLE_USER":
            raise A2AFault(INVALID_PARAMS, "a message to an agent has the role ROLE_USER", "message.role")
        how = parameters.configuration
        if how is not None and how.task_push_notification_config is not None:
            raise A2AFault(NO_PUSH, "this endpoint calls no web hooks: stream, or ask for the task")
        skill = (message.metadata or {}).get("skill")
        try:
            handler = agent.handler(None if skill is None else str(skill))
        except (LookupError, StopIteration):
            named = ", ".join(agent.skills)
            raise A2AFault(INVALID_PARAMS, f"message.metadata.skill is one of: {named}", "message.metadata") from None
        if handler is None:
            for part in message.parts:
                part_of(part)
        try:
            record = self._record(asked, message.task_id, message.context_id)
        except Full as full:
            raise Refused(overloaded(str(full))) from None
        try:
            record.hear(msgspec.structs.replace(message, task_id=record.id, context_id=record.context))
        except TaskTooLarge as error:
            if record.settled:
                self.store.settled(record)  # it waits on
            else:
                self.store.drop(record)
            raise A2AFault(INVALID_PARAMS, str(error), "message") from None
        self._work.begin(record, agent, handler, asked.within)
        return record

    def _record(self, asked: TaskCall, task: str | None, context: str | None) -> TaskRecord:
        name = asked.agent.name
        if not task:
            return self.store.new(name, asked.owner, context or secrets.token_hex(16))
        record = self.store.get(asked.owner, name, task)
        if context and context != record.context:
            raise A2AFault(INVALID_PARAMS, "the task is of another context", "message.contextId", taskId=record.id)
        if not record.state.waits:
            what = "has ended" if record.state.finished else "is being worked on"
            raise A2AFault(UNSUPPORTED, f"the task {what}: {record.state.value}", taskId=record.id)
        self.store.works(record)
        return record

    # cards ------------------------------------------------------------------------------------------------------------
    async def _all(self) -> dict[str, Offered]:
        self._endpoint.admit()
        return await self._offers.all()

    async def _tell_card(self, exchange: AsgiExchange, offered: Offered) -> None:
        options = self._endpoint.options
        card = card_of(offered, self._url(exchange, offered.name), "1", bool(options.api_keys))
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


async def _answer(asked: TaskCall, binding: Binding, value: Any) -> None:
    await asked.exchange.answer(200, binding.result(value), ((b"content-type", binding.media_type),))


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


def _check_version(exchange: AsgiExchange) -> None:
    """A client that names no version speaks 0.3, as the protocol says."""
    given = exchange.header(VERSION_HEADER.encode())
    if given is None:
        given = next(iter(parse_qs(exchange.query.decode("latin-1"), max_num_fields=64).get("A2A-Version", ())), "")
    if ".".join(given.strip().split(".")[:2]) != VERSION:
        told = given.strip()[:40] or "0.3, which a request without A2A-Version means,"
        raise A2AFault(BAD_VERSION, f"version {told} is not spoken here: {VERSION} is", supportedVersions=VERSION)


def _check_offered(method: str) -> None:
    if method in rpc.PUSH:
        raise A2AFault(NO_PUSH, "this endpoint calls no web hooks: stream, or ask for the task")
    if method == rpc.EXTENDED_CARD:
        raise A2AFault(UNSUPPORTED, "this endpoint has no extended card")
    if method not in rpc.PARAMETERS:
        raise A2AFault(NO_SUCH_METHOD, f"no method {method[:100]!r}; there are {', '.join(rpc.PARAMETERS)}")


def _history_of(parameters: SendMessageRequest) -> int | None:
    how = parameters.configuration
    return _checked_history(None if how is None else how.history_length)


def _checked_history(length: int | None) -> int | None:
    if length is not None and length < 0:
        raise A2AFault(INVALID_PARAMS, "historyLength is at least 0", "historyLength")
    return length
