"""A client of one agent of A2A: its card, its methods in either binding, and its streams.

    async with A2AClient("https://example.com/a2a/planner", key=key) as planner:
        task = await planner.send("A trip to Rome", within=60)

Every call has a deadline. A server that hangs, dies, or sends what the protocol does not know is a named error, and no
answer has more bytes than the options allow.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode, urljoin

import msgspec
from msgspec import Struct

from three_mode.a2a import http_json, rpc
from three_mode.a2a.card import AgentCard, AgentInterface
from three_mode.a2a.faults import read_http, read_rpc
from three_mode.a2a.stream import A2AStream
from three_mode.a2a.values import (
    MEDIA_TYPE,
    VERSION,
    VERSION_HEADER,
    WELL_KNOWN,
    A2AMessage,
    A2APart,
    ListTasksRequest,
    ListTasksResponse,
    SendConfiguration,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskRequest,
    Value,
    said_by,
)
from three_mode.channels.channel import REPLY_BYTES, too_large
from three_mode.channels.http import error_of
from three_mode.config.secret import Secret
from three_mode.errors import BadReply, ConfigurationError, DeadlineExceeded, LLMError, ThreeModeError
from three_mode.handling import DEFAULT_WITHIN
from three_mode.providers.codec import Headers
from three_mode.providers.headers import retry_after
from three_mode.providers.refusals import cleaned, secrets_of
from transports.http2 import (
    ConnectFailed,
    LimitExceeded,
    Pool,
    PoolOptions,
    Reply,
    Request,
    TimedOut,
    Timeouts,
    TransportError,
    split_url,
)

Result = TypeVar("Result")
Said = str | A2APart | A2AMessage

_ASKED_AGAIN = 0.2  # seconds between two looks at a task that its server did not wait for, at first
_ASKED_AT_MOST = 2.0
_CANCEL_WITHIN = 5.0  # seconds that a server has to cancel a task that nobody waits for any more
_BINDINGS = (rpc.BINDING, http_json.BINDING)


class A2AClientOptions(Struct, frozen=True, kw_only=True):
    """Options of an `A2AClient`."""

    #: bytes of the longest answer, and of all events of a stream
    reply_bytes: int = REPLY_BYTES
    #: seconds without a byte after which a stream is dead
    idle: float = 60.0
    #: headers of each request
    headers: Mapping[str, str] = {}
    #: the pool of connections
    pool: PoolOptions = PoolOptions()


class A2AClient:
    """One agent of A2A, by its URL: where its card is, or what `/.well-known/agent-card.json` stands below."""

    def __init__(self, url: str, *, key: str | None = None, options: A2AClientOptions | None = None) -> None:
        """`key` goes with each request as a bearer token, to no other origin than that of `url`."""
        self.url, self.options = url.rstrip("/"), options or A2AClientOptions()
        self._key = Secret(key) if key else None
        self._card_url = self.url if self.url.endswith(".json") else self.url + WELL_KNOWN
        try:
            self._origin, _ = split_url(self._card_url)
        except TransportError as error:
            raise ConfigurationError(str(error), hint="https://HOST/PATH of an agent") from None
        self.name = f"a2a {self._origin}"
        self._pool = Pool(self.options.pool)
        given = {**self.options.headers, **({"authorization": f"Bearer {key}"} if key else {})}
        self._secrets = secrets_of(key, given)
        self._headers = tuple((name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in given.items())
        self._timeouts = Timeouts(pool=None, first_byte=None, idle=self.options.idle)
        self._card: AgentCard | None = None
        self._interface: AgentInterface | None = None
        self._numbers = 0
        self._cancelling: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls, once the tasks that were left are cancelled at their server."""
        if self._cancelling:
            await asyncio.wait(self._cancelling, timeout=_CANCEL_WITHIN)
        await self._pool.aclose()

    # methods ----------------------------------------------------------------------------------------------------------
    async def card(self, *, within: float = DEFAULT_WITHIN) -> AgentCard:
        """The agent's card, asked for once."""
        if self._card is None:
            until = _until(within)
            reply = await self._fetch(Request.to("GET", self._card_url, self._common()), until, within)
            card = self._decoded(AgentCard, reply.content)
            self._interface, self._card = self._chosen(card), card
        return self._card

    async def send(
        self,
        said: Said,
        *,
        task: str | None = None,
        context: str | None = None,
        within: float = DEFAULT_WITHIN,
    ) -> Task | A2AMessage:
        """Send a message, and wait until its task is finished or waits for the user.

        `task`: a task that waits, which the message continues. `context`: a conversation that it belongs to. An agent
        may answer with a message and no task. A call that is cancelled cancels the task.
        """
        until = _until(within)
        card = await self.card(within=within)
        if card.capabilities.streaming:
            async with self.stream(said, task=task, context=context, within=_left(until)) as events:
                async for _ in events:
                    pass
            return events.fold.message or events.task()
        found = await self._call(rpc.SEND, _message(said, task, context), StreamResponse, until, within)
        if found.message is not None:
            return found.message
        if found.task is None:
            raise self.bad("it answered a message with neither a task nor a message")
        return await self._settled(found.task, until, within)

    def stream(
        self,
        said: Said,
        *,
        task: str | None = None,
        context: str | None = None,
        within: float = DEFAULT_WITHIN,
    ) -> A2AStream:
        """Send a message, and read the events of its task: `async with client.stream(...) as events`.

        It ends when the task is finished or waits for the user. Leaving it before cancels the task.
        """
        return A2AStream(self, rpc.STREAM, _message(said, task, context), within)

    def subscribe(self, task: str, *, within: float = DEFAULT_WITHIN) -> A2AStream:
        """Read the events of a task that is there. Leaving it leaves the task alone."""
        return A2AStream(self, rpc.SUBSCRIBE, TaskRequest(id=task), within)

    async def task(self, task: str, *, history: int | None = None, within: float = DEFAULT_WITHIN) -> Task:
        """A task as it is now, with so many of its last messages; None: with as many as the server gives."""
        asked = TaskRequest(id=task, history_length=history)
        return await self._call(rpc.GET, asked, Task, _until(within), within)

    async def cancel(self, task: str, *, within: float = DEFAULT_WITHIN) -> Task:
        """End a task, and return it as it is then."""
        return await self._call(rpc.CANCEL, TaskRequest(id=task), Task, _until(within), within)

    async def tasks(
        self, asked: ListTasksRequest | None = None, *, within: float = DEFAULT_WITHIN
    ) -> ListTasksResponse:
        """A page of the tasks that this client may see."""
        return await self._call(rpc.LIST, asked or ListTasksRequest(), ListTasksResponse, _until(within), within)

    async def _settled(self, task: Task, until: float, within: float) -> Task:
        """A task whose server did not wait for it: asked for until it is settled."""
        wait = _ASKED_AGAIN
        try:
            while not (task.status.state.finished or task.status.state.waits):
                if _left(until) <= wait:
                    raise self.too_late(within)
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, _ASKED_AT_MOST)
                task = await self._call(rpc.GET, TaskRequest(id=task.id), Task, until, within)
        except (asyncio.CancelledError, DeadlineExceeded):
            self.leave(task.id)
            raise
        return task

    def leave(self, task: str) -> None:
        """Have a task cancelled that nobody waits for any more, without waiting for that."""

        async def cancel() -> None:
            try:
                await self.cancel(task, within=_CANCEL_WITHIN)
            except ThreeModeError:
                pass  # it has ended, or its server has

        leaving = asyncio.get_running_loop().create_task(cancel())
        self._cancelling.add(leaving)
        leaving.add_done_callback(self._cancelling.discard)

    # requests ---------------------------------------------------------------------------------------------------------
    def request(self, method: str, parameters: Value) -> Request:
        """The request of a method, in the binding that the card prefers."""
        interface = self._interface
        assert interface is not None  # the card was read first
        if interface.tenant is not None:
            parameters = msgspec.structs.replace(parameters, tenant=interface.tenant)
        if interface.protocol_binding == rpc.BINDING:
            self._numbers += 1
            body = {"jsonrpc": "2.0", "id": self._numbers, "method": method, "params": parameters}
            headers = (*self._common(), (b"content-type", b"application/json"))
            return Request.to("POST", interface.url, headers, msgspec.json.encode(body))
        verb, path, written = _written(method, parameters)
        headers = (*self._common(), (b"content-type", MEDIA_TYPE.encode()))
        tenant = f"/{interface.tenant}" if interface.tenant else ""
        return Request.to(verb, interface.url.rstrip("/") + tenant + path, headers, written)

    def open(self, request: Request) -> Any:
        """The call of a stream."""
        return self._pool.request(request, timeouts=self._timeouts)

    async def _call(self, method: str, parameters: Value, kind: type[Result], until: float, within: float) -> Result:
        await self.card(within=_left(until))
        reply = await self._fetch(self.request(method, parameters), until, within)
        return self.result(kind, reply.content)

    async def _fetch(self, request: Request, until: float, within: float) -> Reply:
        try:
            reply = await self._pool.fetch(
                request, timeouts=self._timeouts, max_bytes=self.options.reply_bytes, until=until
            )
        except TransportError as error:
            raise self.failure(error, within) from None
        self.check(reply.status, reply.content, reply.headers)
        return reply

    def check(self, status: int, body: bytes, headers: Headers) -> None:
        """Raise what a server refused."""
        if not 200 <= status < 300:
            raise cleaned(read_http(status, body, self.name, retry_after(headers)), self._secrets)

    def result(self, kind: type[Result], body: bytes) -> Result:
        """What a method answered, out of its envelope."""
        assert self._interface is not None
        found = self._decoded(dict, body)
        if self._interface.protocol_binding != rpc.BINDING:
            if "error" in found and "id" not in found:
                raise cleaned(read_http(500, body, self.name, None), self._secrets)
            return self._converted(kind, found)
        if found.get("error") is not None:
            raise cleaned(read_rpc(found["error"], self.name), self._secrets)
        if "result" not in found:
            raise self.bad("its answer has neither a result nor an error")
        return self._converted(kind, found["result"])

    def _decoded(self, kind: Any, body: bytes) -> Any:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self.bad(f"its answer cannot be read: {error}") from None

    def _converted(self, kind: type[Result], value: Any) -> Result:
        try:
            return msgspec.convert(value, kind, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise self.bad(f"its answer does not follow the protocol: {error}") from None

    # errors -----------------------------------------------------------------------------------------------------------
    def bad(self, what: str) -> LLMError:
        """The error for an answer that does not follow the protocol."""
        return cleaned(BadReply(f"{self.name}: {what}", provider=self.name), self._secrets)

    def too_late(self, within: float) -> DeadlineExceeded:
        """The error for a call that took too long."""
        return DeadlineExceeded(f"{self.name}: no answer within {within:g} s", stage="total", provider=self.name)

    def failure(self, error: TransportError, within: float) -> ThreeModeError:
        """The error of the transport as ours."""
        if isinstance(error, TimedOut) and error.phase == "total":
            return self.too_late(within)
        if isinstance(error, LimitExceeded):
            return too_large(self.name, None, self.options.reply_bytes)
        found = error_of(error, self.name, None)
        if isinstance(error, ConnectFailed):
            found.hint = "is the URL right, and the server up?"
        return cleaned(found, self._secrets) if isinstance(found, LLMError) else found

    def _common(self) -> tuple[tuple[bytes, bytes], ...]:
        return (
            (VERSION_HEADER.encode(), VERSION.encode()),
            (b"accept", b"application/json, text/event-stream"),
            *self._headers,
        )

    def _chosen(self, card: AgentCard) -> AgentInterface:
        """The first interface that both sides speak."""
        for interface in card.supported_interfaces:
            version = interface.protocol_version or VERSION
            if interface.protocol_binding in _BINDINGS and version.split(".")[0] == VERSION.split(".")[0]:
                return self._checked(interface)
        spoken = ", ".join(
            f"{each.protocol_binding[:40]} {each.protocol_version[:20]}" for each in card.supported_interfaces[:8]
        )
        raise BadReply(
            f"{self.name}: its card has no interface that is spoken here, of: {spoken or 'none'}",
            hint=f"{' and '.join(_BINDINGS)} of {VERSION} are",
            provider=self.name,
            retryable=False,
        )

    def _checked(self, interface: AgentInterface) -> AgentInterface:
        """The interface, with its whole URL. A key goes to no other origin than the one that it was given for."""
        url = urljoin(self._card_url, interface.url)
        try:
            origin, _ = split_url(url)
        except TransportError as error:
            raise self.bad(f"its card names no URL: {error}") from None
        if origin != self._origin and self._headers:
            raise BadReply(
                f"{self.name}: its card leads to {origin}, where the key and headers given here do not go",
                hint="give the URL of that server",
                provider=self.name,
                retryable=False,
            )
        return msgspec.structs.replace(interface, url=url)


def _message(said: Said, task: str | None, context: str | None) -> SendMessageRequest:
    """The parameters of a message."""
    if isinstance(said, A2AMessage):
        message = msgspec.structs.replace(said, task_id=task or said.task_id, context_id=context or said.context_id)
    else:
        part = A2APart(text=said) if isinstance(said, str) else said
        message = said_by("ROLE_USER", (part,), task_id=task or None, context_id=context or None)
    return SendMessageRequest(message=message, configuration=SendConfiguration(return_immediately=False))


def _written(method: str, parameters: Value) -> tuple[str, str, bytes]:
    """Verb, path and body of a method in the HTTP+JSON binding."""
    if isinstance(parameters, SendMessageRequest):
        return "POST", "/message:send" if method == rpc.SEND else "/message:stream", msgspec.json.encode(parameters)
    fields = msgspec.to_builtins(parameters)
    fields.pop("tenant", None)
    if isinstance(parameters, ListTasksRequest):
        return "GET", "/tasks" + _query(fields), b""
    number = fields.pop("id")
    if method == rpc.GET:
        return "GET", f"/tasks/{number}" + _query(fields), b""
    return "POST", f"/tasks/{number}:{'cancel' if method == rpc.CANCEL else 'subscribe'}", b""


def _query(fields: Mapping[str, Any]) -> str:
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()}
    return f"?{urlencode(given)}" if given else ""


def _until(within: float) -> float:
    return asyncio.get_running_loop().time() + within


def _left(until: float) -> float:
    return max(0.001, until - asyncio.get_running_loop().time())
